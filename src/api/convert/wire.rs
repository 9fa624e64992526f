//! Entries of the log in the frames of a stream's responses.
//!
//! Every response that carries an entry has its cursor as field 1 and one further field, which depends on the entry alone.
//! So the two can be encoded apart, and the second only once.

use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint, key_len};

use super::{inbox::happening, reply::update};
use crate::{
    domain::event::{Event, Payload},
    fanout::Wire,
    proto::v1::stream_status_updates_response::Frame,
};

/// The responses of all streams, each behind the five bytes that gRPC puts before a message.
#[derive(Clone, Copy, Debug)]
pub struct Responses;

const CURSOR: u32 = 1;

impl Wire for Responses {
    fn body(&self, event: &Event) -> Vec<u8> {
        let mut body = Vec::new();
        match &event.payload {
            Payload::Update(told) => Frame::Update(update(told)).encode(&mut body),
            Payload::Inbound(inbound) => happening(inbound).encode(&mut body),
        }
        body
    }

    fn frame(&self, cursor: &str, body: &[u8], frames: &mut Vec<u8>) {
        let length = key_len(CURSOR) + encoded_len_varint(cursor.len() as u64) + cursor.len() + body.len();
        frames.extend(message_head(length));
        encode_key(CURSOR, WireType::LengthDelimited, frames);
        encode_varint(cursor.len() as u64, frames);
        frames.extend_from_slice(cursor.as_bytes());
        frames.extend_from_slice(body);
    }
}

/// What stands before a message of this length: that it is not compressed, and the length.
pub(in crate::api) fn message_head(length: usize) -> [u8; 5] {
    // Longer messages do not come about: what a frame carries was a small part of a request once.
    let [a, b, c, d] = u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes();
    [0, a, b, c, d]
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;
    use crate::proto::v1::{MessageStatus, StatusUpdate, StreamStatusUpdatesResponse};

    #[test]
    fn a_frame_of_two_parts_is_the_response_as_it_would_be_encoded_whole() {
        for length in [0, 1, 70, 127, 128, 300] {
            let told = StatusUpdate {
                message_id: "0197".to_owned(),
                status: MessageStatus::Read.into(),
                labels: vec!["x".repeat(length)],
                ..Default::default()
            };
            let response =
                StreamStatusUpdatesResponse { cursor: "c".repeat(length), frame: Some(Frame::Update(told.clone())) };
            let (mut body, mut frames) = (Vec::new(), vec![7]);
            Frame::Update(told).encode(&mut body);
            Responses.frame(&response.cursor, &body, &mut frames);
            if length == 0 {
                // An empty cursor, which there is none of, is written out.
                frames.drain(6..8);
                frames[5] -= 2;
            }
            let whole = response.encode_to_vec();
            let length = u32::try_from(whole.len()).unwrap().to_be_bytes();
            assert_eq!(frames, [&[7, 0], &length[..], &whole].concat());
        }
    }
}
