//! Whether what a webhook tells counts at once, or only once it has been read back.

use crate::domain::{inbound::Trust, merge::Observed, read_back::ReadBack, status::Status};

/// Whether a status that a webhook tells may be folded in under this policy. Where anything is read back, no webhook says
/// which message a doubt is about.
pub(super) const fn trust(policy: ReadBack, told: &Observed) -> Trust {
    let ends = matches!(told.status(), Some(Status::Canceled | Status::Failed | Status::Delivered | Status::Read));
    match policy {
        ReadBack::Never => Trust::Proven,
        ReadBack::Terminal if ends => Trust::Claimed,
        ReadBack::Terminal => Trust::Named,
        ReadBack::Always => Trust::Claimed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::failure::Failure;

    #[test]
    fn a_policy_tells_what_is_only_a_claim() {
        let told = [Status::Queued, Status::Sent, Status::Canceled, Status::Delivered, Status::Read]
            .map(Observed::Reached)
            .into_iter()
            .chain([Observed::Failed(Failure::reported("X", "x")), Observed::Unknown("PLAYED".to_owned())]);
        let told: Vec<_> = told.collect();
        let claims =
            |policy| -> Vec<&Observed> { told.iter().filter(|told| trust(policy, told) == Trust::Claimed).collect() };
        assert_eq!(claims(ReadBack::Never), [&told[0]; 0]);
        assert_eq!(claims(ReadBack::Terminal), [&told[2], &told[3], &told[4], &told[5]]);
        assert_eq!(claims(ReadBack::Always), told.iter().collect::<Vec<_>>());
        assert_eq!([&told[0], &told[1]].map(|told| trust(ReadBack::Terminal, told)), [Trust::Named; 2]);
    }
}
