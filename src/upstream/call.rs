//! One HTTP call: the key in its header, the answer read up to a bound.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest::{
    Client, Method, Url,
    header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue},
};

use crate::domain::secret::NumberKey;

/// Answers longer than this are cut off and then not understood, unless the call says otherwise.
const MAX_ANSWER: usize = 1 << 20;

const API_KEY: HeaderName = HeaderName::from_static("x-api-key");
const NUMBER_ID: HeaderName = HeaderName::from_static("x-whatsapp-number-id");
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// A call to be made.
pub(super) struct Call {
    method: Method,
    url: Url,
    headers: HeaderMap,
    body: Option<Bytes>,
    most: usize,
}

/// What came back.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

/// Why nothing came back.
pub(super) enum Trouble {
    /// No connection stood, so nothing left.
    NotSent(String),
    /// Something may have left.
    NoAnswer(String),
}

impl Call {
    pub(super) fn new(method: Method, url: Url, key: &NumberKey) -> Self {
        let mut headers = HeaderMap::with_capacity(4);
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        // A key is visible ASCII by its type, so this cannot fail; without the header the answer would be a plain 401.
        if let Ok(mut value) = HeaderValue::from_str(key.expose()) {
            value.set_sensitive(true);
            headers.insert(API_KEY, value);
        }
        Self { method, url, headers, body: None, most: MAX_ANSWER }
    }

    pub(super) fn json(mut self, body: Bytes) -> Self {
        self.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        self.body = Some(body);
        self
    }

    /// Names the number that the call is about, for a key that is not a number's own.
    pub(super) fn number_id(mut self, id: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(id) {
            self.headers.insert(NUMBER_ID, value);
        }
        self
    }

    /// Sets how long the answer may be.
    pub(super) fn up_to(self, most: usize) -> Self {
        Self { most, ..self }
    }

    pub(super) fn idempotency_key(mut self, key: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(key) {
            self.headers.insert(IDEMPOTENCY_KEY, value);
        }
        self
    }

    pub(super) async fn make(self, http: &Client, timeout: Duration) -> Result<Answer, Trouble> {
        let mut request = reqwest::Request::new(self.method, self.url);
        *request.headers_mut() = self.headers;
        *request.timeout_mut() = Some(timeout);
        *request.body_mut() = self.body.map(Into::into);
        let mut response = http.execute(request).await.map_err(trouble)?;
        let status = response.status().as_u16();
        let headers = std::mem::take(response.headers_mut());
        let mut body = BytesMut::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| Trouble::NoAnswer(text_of(&error)))? {
            if body.len() + chunk.len() > self.most {
                return Err(Trouble::NoAnswer(format!("the answer is longer than {} bytes", self.most)));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Answer { status, headers, body: body.freeze() })
    }
}

/// Only a failure to connect proves that nothing left.
fn trouble(error: reqwest::Error) -> Trouble {
    let detail = text_of(&error);
    if error.is_connect() || error.is_builder() { Trouble::NotSent(detail) } else { Trouble::NoAnswer(detail) }
}

/// The whole chain of causes, without the URL, which may hold an id.
fn text_of(error: &reqwest::Error) -> String {
    let mut text = if error.is_timeout() { "timed out".to_owned() } else { "the call failed".to_owned() };
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text
}
