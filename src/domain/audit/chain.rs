//! The check of a stretch of the log: entry by entry, each fault by the number of the entry it was found at.

use super::{Act, Link};

/// Something wrong in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The number of the entry.
    pub seq: i64,
    /// What is wrong with it.
    pub what: String,
}

impl Fault {
    /// At this entry.
    pub fn at(seq: i64, what: impl Into<String>) -> Self {
        Self { seq, what: what.into() }
    }
}

/// How far a stretch has been checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    /// The number of the entry before; `None`: none is known.
    seq: Option<i64>,
    /// What its link may be: as it stands and, if that was wrong, as it should be. Then one edited link is told once, and
    /// not again at the entry behind it. Empty: not known.
    links: Vec<Link>,
    entries: u64,
}

impl Chain {
    /// Behind this entry.
    pub fn behind(seq: i64, link: Link) -> Self {
        Self { seq: Some(seq), links: vec![link], entries: 0 }
    }

    /// Behind an entry that is not at hand: the first one that comes is taken as it is, unless it is the first of all.
    pub const fn somewhere() -> Self {
        Self { seq: None, links: Vec::new(), entries: 0 }
    }

    /// How many entries were checked.
    pub const fn entries(&self) -> u64 {
        self.entries
    }

    /// The number of the entry that was checked last.
    pub const fn last(&self) -> Option<i64> {
        self.seq
    }

    /// Goes on behind an entry up to which the log was trimmed meanwhile.
    pub fn skip_to(&mut self, seq: i64, link: Link) {
        (self.seq, self.links) = (Some(seq), vec![link]);
    }

    /// Checks the next entry and tells what is wrong with it. What it says is given back if it can be read.
    pub fn take(&mut self, seq: i64, link: Link, text: &str) -> (Option<Act>, Vec<Fault>) {
        let mut faults = Vec::new();
        match self.seq.map(|before| before.saturating_add(1)) {
            Some(expected) if seq > expected => {
                faults.push(Fault::at(seq, missing(expected, seq - 1)));
                self.links.clear();
            }
            Some(expected) if seq < expected => {
                faults.push(Fault::at(seq, format!("it stands where entry {expected} should be")));
                self.links.clear();
            }
            None if seq == 1 => self.links = vec![Link::START],
            Some(_) | None => {}
        }
        let computed: Vec<_> = self.links.iter().map(|before| before.then(seq, text)).collect();
        let fits = computed.is_empty() || computed.contains(&link);
        if fits {
            self.links = vec![link];
        } else {
            let what = "its link does not follow from the entry before and its text: one of them was changed";
            faults.push(Fault::at(seq, what));
            self.links = computed;
            self.links.push(link);
        }
        let act: Option<Act> = serde_json::from_str(text).ok();
        if act.is_none() {
            faults.push(Fault::at(seq, "its text is no entry of the audit log"));
        }
        (self.seq, self.entries) = (Some(seq), self.entries + 1);
        (act, faults)
    }
}

/// That these entries are not there, both included.
pub(super) fn missing(first: i64, last: i64) -> String {
    if first == last {
        format!("entry {first} before it is missing")
    } else {
        format!("entries {first} to {last} before it are missing")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(n: i64) -> String {
        let act = Act { subject: format!("number/n{n}"), ..Act::trimming(jiff::Timestamp::UNIX_EPOCH, n, Link::START) };
        serde_json::to_string(&act).unwrap()
    }

    /// Entries 1 to `count`.
    fn log(count: i64) -> Vec<(i64, Link, String)> {
        let mut link = Link::START;
        let entry = |seq| {
            link = link.then(seq, &text(seq));
            (seq, link, text(seq))
        };
        (1..=count).map(entry).collect()
    }

    fn faults(mut chain: Chain, entries: &[(i64, Link, String)]) -> Vec<(i64, String)> {
        let all = entries.iter().flat_map(|(seq, link, text)| chain.take(*seq, *link, text).1);
        all.map(|fault| (fault.seq, fault.what)).collect()
    }

    const CHANGED: &str = "its link does not follow from the entry before and its text: one of them was changed";

    #[test]
    fn each_kind_of_tampering_is_told_where_it_is() {
        let whole = log(9);
        assert_eq!(faults(Chain::somewhere(), &whole), []);
        assert_eq!(faults(Chain::somewhere(), &whole[4..]), [], "one that begins later");
        assert_eq!(faults(Chain::behind(4, whole[3].1), &whole[4..]), []);
        let wrong_start = faults(Chain::behind(4, whole[4].1), &whole[4..]);
        assert_eq!(wrong_start, [(5, CHANGED.to_owned())]);

        let mut edited = whole.clone();
        edited[3].2 = text(40);
        assert_eq!(faults(Chain::somewhere(), &edited), [(4, CHANGED.to_owned())]);
        let mut edited = whole.clone();
        edited[3].1 = Link([9; 32]);
        assert_eq!(faults(Chain::somewhere(), &edited), [(4, CHANGED.to_owned())], "not entry 5, too");
        let mut edited = whole.clone();
        (edited[3].1, edited[3].2) = (edited[2].1.then(4, &text(40)), text(40));
        assert_eq!(faults(Chain::somewhere(), &edited), [(5, CHANGED.to_owned())], "what follows gives it away");
        let mut edited = whole.clone();
        edited[3].2 = "{}".to_owned();
        let told = [CHANGED, "its text is no entry of the audit log"].map(|what| (4, what.to_owned()));
        assert_eq!(faults(Chain::somewhere(), &edited), told);

        let mut cut = whole.clone();
        cut.remove(3);
        assert_eq!(faults(Chain::somewhere(), &cut), [(5, "entry 4 before it is missing".to_owned())]);
        cut.drain(3..5);
        assert_eq!(faults(Chain::somewhere(), &cut), [(7, "entries 4 to 6 before it are missing".to_owned())]);
        let mut moved = whole;
        moved.swap(3, 4);
        let told = [
            (5, "entry 4 before it is missing"),
            (4, "it stands where entry 6 should be"),
            (6, "entry 5 before it is missing"),
        ];
        assert_eq!(faults(Chain::somewhere(), &moved), told.map(|(seq, what)| (seq, what.to_owned())));
    }

    proptest! {
        #[test]
        fn no_byte_of_a_log_can_be_changed(seq in 1..=6_i64, byte in any::<usize>(), bit in 0..8_u8, link in any::<bool>()) {
            let mut entries = log(6);
            let (_, kept, text) = &mut entries[usize::try_from(seq).unwrap() - 1];
            if link {
                kept.0[byte % 32] ^= 1 << bit;
            } else {
                let mut bytes = text.clone().into_bytes();
                let place = byte % bytes.len();
                bytes[place] ^= 1 << bit;
                *text = String::from_utf8_lossy(&bytes).into_owned();
            }
            let told = faults(Chain::somewhere(), &entries);
            prop_assert_eq!(told.first().map(|fault| fault.0), Some(seq));
        }
    }
}
