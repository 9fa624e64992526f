//! Tells the kinds of recipients apart by their shape.
//!
//! Owns the shapes only; whether a number exists, or a user id is real, is for the gateway. Called by the argument
//! parser of `send`.

use crate::proto::v1::recipient::Kind;

/// Reads `+5511999990000`, `BR.1349…`, `…@g.us` or `…@newsletter`.
///
/// # Errors
/// A text for the person who typed it.
pub fn recognise(text: &str) -> Result<Kind, String> {
    let address = text.to_owned();
    if let Some(digits) = text.strip_prefix('+') {
        let sound = (8..=15).contains(&digits.len()) && digits.bytes().all(|it| it.is_ascii_digit());
        return if sound {
            Ok(Kind::PhoneNumber(address))
        } else {
            Err("a phone number has 8 to 15 digits after the +, and nothing else".into())
        };
    }
    match text.rsplit_once('@') {
        Some((local, "g.us")) if !local.is_empty() => return Ok(Kind::GroupId(address)),
        Some((local, "newsletter")) if !local.is_empty() => return Ok(Kind::NewsletterId(address)),
        Some(_) => return Err("a group ends in @g.us, a newsletter in @newsletter".into()),
        None => {}
    }
    match text.split_once('.') {
        Some((country, rest)) if is_country(country) && !rest.is_empty() => Ok(Kind::UserId(address)),
        _ if text.len() >= 8 && text.bytes().all(|it| it.is_ascii_digit()) => {
            Err(format!("a phone number begins with +: did you mean +{text}?"))
        }
        _ => Err("expected +E164, a user id such as BR.123, …@g.us or …@newsletter".into()),
    }
}

fn is_country(text: &str) -> bool {
    text.len() == 2 && text.bytes().all(|it| it.is_ascii_uppercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_by_shape() {
        let phone = "+5511999990000";
        assert_eq!(recognise(phone), Ok(Kind::PhoneNumber(phone.into())));
        let user = "BR.13491208655302741918";
        assert_eq!(recognise(user), Ok(Kind::UserId(user.into())));
        let group = "120363025246125486@g.us";
        assert_eq!(recognise(group), Ok(Kind::GroupId(group.into())));
        let newsletter = "120363144038483540@newsletter";
        assert_eq!(recognise(newsletter), Ok(Kind::NewsletterId(newsletter.into())));
    }

    #[test]
    fn what_has_no_known_shape_is_refused_with_a_hint() {
        let refused = |text| recognise(text).unwrap_err();
        let digits = "a phone number has 8 to 15 digits after the +, and nothing else";
        assert_eq!(refused("+55 11 99999"), digits);
        assert_eq!(refused("+1234567"), digits);
        assert_eq!(refused("5511999990000"), "a phone number begins with +: did you mean +5511999990000?");
        assert_eq!(refused("ana@c.us"), "a group ends in @g.us, a newsletter in @newsletter");
        assert_eq!(refused("@g.us"), "a group ends in @g.us, a newsletter in @newsletter");
        let any = "expected +E164, a user id such as BR.123, …@g.us or …@newsletter";
        assert_eq!(refused("Ana"), any);
        assert_eq!(refused("br.123"), any);
        assert_eq!(refused("BR."), any);
    }
}
