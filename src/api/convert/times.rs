//! Times and spans.

use std::time::Duration;

use jiff::Timestamp;

use crate::domain::Invalid;

/// A protobuf time of the years 1 to 9999.
pub(super) fn timestamp(time: prost_types::Timestamp) -> Result<Timestamp, Invalid> {
    let valid = (0..1_000_000_000).contains(&time.nanos).then(|| Timestamp::new(time.seconds, time.nanos).ok());
    valid.flatten().ok_or_else(|| Invalid::because("must be a valid time"))
}

/// The other way.
pub(super) fn proto(time: Timestamp) -> prost_types::Timestamp {
    let nanos = time.as_nanosecond();
    let (seconds, nanos) = (nanos.div_euclid(1_000_000_000), nanos.rem_euclid(1_000_000_000));
    // A `Timestamp` ends with the year 9999, so that neither can overflow.
    prost_types::Timestamp {
        seconds: i64::try_from(seconds).unwrap_or(i64::MAX),
        nanos: i32::try_from(nanos).unwrap_or_default(),
    }
}

/// A span that is not negative.
pub(super) fn span(span: prost_types::Duration) -> Result<Duration, Invalid> {
    Duration::try_from(span).map_err(|_| Invalid::because("must be a valid span, not negative"))
}

/// The other way; spans longer than protobuf's 10,000 years do not occur.
pub(super) fn proto_span(span: Duration) -> prost_types::Duration {
    prost_types::Duration::try_from(span).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn times_come_back(seconds in -62_135_596_800_i64..253_402_207_200, nanos in 0..1_000_000_000) {
            let time = prost_types::Timestamp { seconds, nanos };
            prop_assert_eq!(timestamp(time).map(proto), Ok(time));
        }
    }

    #[test]
    fn nonsense_is_refused() {
        assert!(timestamp(prost_types::Timestamp { seconds: 0, nanos: -1 }).is_err());
        assert!(timestamp(prost_types::Timestamp { seconds: i64::MAX, nanos: 0 }).is_err());
        assert!(span(prost_types::Duration { seconds: -1, nanos: 0 }).is_err());
    }
}
