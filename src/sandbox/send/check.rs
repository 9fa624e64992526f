//! Owns the rules of a send's body: destination, mode, fields of the mode. It
//! reports the first thing wrong. Codes are upstream's where it documents one
//! and the switch `validation_code` elsewhere.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::super::call::Call;
use super::super::errors::ApiError;
use super::super::messages::{Draft, Media};
use super::super::numbers::Number;
use super::super::state::{State, held};
use super::super::switches::{MetaGroups, Switches};
use super::super::templates::Template;
use super::super::timeline::Timeline;
use super::parts::{self, Fields, is_text, string};

const FIELDS: [&str; 20] = [
    "destinationNumber",
    "groupId",
    "newsletterId",
    "templateId",
    "text",
    "list",
    "carousel",
    "flow",
    "variables",
    "media",
    "mediaType",
    "caption",
    "buttons",
    "header",
    "footer",
    "deliverAt",
    "deliverUntil",
    "labels",
    "marketingOptions",
    "markRead",
];

/// The destination as the body names it, if it names one at all.
pub fn destination(body: &Value) -> Option<&str> {
    ["destinationNumber", "groupId", "newsletterId"].into_iter().find_map(|name| body.get(name).and_then(Value::as_str))
}

/// The message the body asks for.
pub fn check(state: &State, call: &Call, number: &Number) -> Result<Draft, ApiError> {
    let switches = &*call.switches;
    let body = call.object()?;
    let fields = Fields { body, switches };
    if switches.refuse_unknown_fields
        && let Some(name) = body.keys().find(|k| !FIELDS.contains(&k.as_str()))
    {
        return Err(fields.bad(format!("Unknown field {name}")));
    }
    let destination = check_destination(&fields, number)?;
    let mut draft = Draft {
        number_id: number.id.clone(),
        from: number.phone(),
        destination,
        template: None,
        marketing: false,
        kind: "text".into(),
        content: String::new(),
        media: None,
        carries_flow: false,
        deliver_at: time(&fields, "deliverAt")?,
        deliver_until: time(&fields, "deliverUntil")?,
        idempotency_key: None,
        timeline: Arc::new(Timeline::default()),
    };
    check_common(&fields)?;
    check_mode(state, &fields, number, &mut draft)?;
    Ok(draft)
}

fn check_destination(fields: &Fields, number: &Number) -> Result<String, ApiError> {
    let named: Vec<&str> =
        ["destinationNumber", "groupId", "newsletterId"].into_iter().filter(|name| fields.has(name)).collect();
    let [name] = named[..] else {
        return Err(fields.bad("Exactly one of destinationNumber, groupId, newsletterId is required"));
    };
    let bad = || ApiError::coded(400, "INVALID_DESTINATION", format!("{name} is invalid"));
    let value = fields.body[name].as_str().ok_or_else(bad)?;
    let meta = number.provider == "META";
    match name {
        "destinationNumber" if is_phone(value) || is_bsuid(value) => {}
        "groupId" if value.ends_with("@g.us") => match fields.switches.meta_groups {
            MetaGroups::NotSupported if meta => return Err(not_for_meta()),
            MetaGroups::NotEligible if meta => {
                return Err(ApiError::coded(400, "META_GROUPS_NOT_ELIGIBLE", "This number may not use groups"));
            }
            _ => {}
        },
        "newsletterId" if value.ends_with("@newsletter") => {
            if meta {
                return Err(not_for_meta());
            }
        }
        _ => return Err(bad()),
    }
    Ok(value.to_owned())
}

fn not_for_meta() -> ApiError {
    ApiError::coded(400, "NOT_SUPPORTED_FOR_META", "Not supported on Meta numbers")
}

fn is_phone(text: &str) -> bool {
    let digits = text.strip_prefix('+').unwrap_or(text);
    (8..=15).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit()) && !digits.starts_with('0')
}

fn is_bsuid(text: &str) -> bool {
    text.split_once('.').is_some_and(|(country, id)| {
        country.len() == 2
            && country.bytes().all(|b| b.is_ascii_uppercase())
            && id.len() >= 6
            && id.bytes().all(|b| b.is_ascii_alphanumeric())
    })
}

fn time(fields: &Fields, name: &str) -> Result<Option<Timestamp>, ApiError> {
    if !fields.has(name) {
        return Ok(None);
    }
    let text = fields.body[name].as_str();
    text.and_then(|t| t.parse().ok()).map(Some).ok_or_else(|| fields.bad(format!("{name} must be an ISO 8601 time")))
}

fn check_common(fields: &Fields) -> Result<(), ApiError> {
    let body = fields.body;
    let strings = |v: &Value| v.as_array().is_some_and(|a| a.iter().all(Value::is_string));
    if fields.has("labels") && !strings(&body["labels"]) {
        return Err(fields.bad("labels must be an array of strings"));
    }
    if fields.has("markRead") && !body["markRead"].is_boolean() {
        return Err(fields.bad("markRead must be a boolean"));
    }
    if fields.has("variables") && !body["variables"].is_object() {
        return Err(fields.bad("variables must be an object"));
    }
    if fields.has("marketingOptions") {
        let options = body["marketingOptions"].as_object();
        let rewrite = options.map(|o| o.get("aiRewriteEnabled"));
        if !rewrite.is_some_and(|r| r.is_none_or(Value::is_boolean)) {
            return Err(fields.bad("marketingOptions.aiRewriteEnabled must be a boolean"));
        }
    }
    Ok(())
}

fn check_mode(state: &State, fields: &Fields, number: &Number, draft: &mut Draft) -> Result<(), ApiError> {
    let interactive: Vec<&str> = ["list", "carousel", "flow"].into_iter().filter(|m| fields.has(m)).collect();
    if fields.has("templateId") {
        fields.none_of("templateId", &["text", "list", "carousel", "flow"])?;
        fields.none_of("templateId", &["buttons", "header", "footer"])?;
        return template(state, fields, number, draft);
    }
    if fields.has("marketingOptions") {
        return Err(fields.bad("marketingOptions needs a MARKETING template"));
    }
    match interactive[..] {
        [] => {}
        [mode] => {
            fields.none_of(mode, &["buttons", "header", "media", "mediaType", "caption"])?;
            return parts::interactive(fields, mode, draft);
        }
        _ => return Err(fields.bad("list, carousel and flow exclude each other")),
    }
    if fields.has("media") {
        fields.none_of("media", &["text", "buttons", "header", "footer"])?;
        let filled = |v: &Value| v.as_object().is_some_and(|o| !o.is_empty());
        if fields.body.get("variables").is_some_and(filled) {
            return Err(fields.bad("variables do not go with direct media"));
        }
        draft.media = Some(media(fields, number)?);
        draft.kind = kind_of_media(&fields.body["mediaType"]).into();
        draft.content = string(fields.body.get("caption")).to_owned();
        return Ok(());
    }
    if fields.has("text") {
        fields.none_of("text", &["mediaType"])?;
        parts::text(fields)?;
        string(fields.body.get("text")).clone_into(&mut draft.content);
        return Ok(());
    }
    Err(fields.bad("One of templateId, text, media, list, carousel, flow is required"))
}

fn template(state: &State, fields: &Fields, number: &Number, draft: &mut Draft) -> Result<(), ApiError> {
    let wanted = fields.body["templateId"].as_str().filter(|t| is_text(t));
    let wanted = wanted.ok_or_else(|| fields.bad("templateId must be a non-blank string"))?;
    let found = held(&state.templates).find(&number.id, wanted);
    let template = found.ok_or_else(super::super::templates::not_found)?;
    if template.category != "MARKETING" && fields.has("marketingOptions") {
        return Err(fields.bad("marketingOptions needs a MARKETING template"));
    }
    if template.category == "OTP" && is_bsuid(&draft.destination) {
        return Err(ApiError::coded(400, "INVALID_DESTINATION", "An authentication template needs a phone number"));
    }
    let empty = Map::new();
    let given = fields.body.get("variables").and_then(Value::as_object);
    draft.content = filled(&template, given.unwrap_or(&empty))?;
    draft.marketing = template.category == "MARKETING";
    draft.template = Some(template.name);
    if fields.has("media") || fields.has("mediaType") {
        draft.media = Some(media(fields, number)?);
    }
    Ok(())
}

/// The template's text with its variables put in.
fn filled(template: &Template, given: &Map<String, Value>) -> Result<String, ApiError> {
    let names = template.variables();
    let missing: Vec<&String> = names.iter().filter(|n| !given.contains_key(*n)).collect();
    if !missing.is_empty() {
        return Err(ApiError::coded(400, "MISSING_TEMPLATE_VARIABLES", "Template variables are missing")
            .with("details", json!({ "missingKeys": missing })));
    }
    let reason = |v: &Value| match v.as_str() {
        None => Some("not_string"),
        Some(text) if !is_text(text) => Some("blank"),
        Some(_) => None,
    };
    let invalid: Vec<Value> =
        given.iter().filter_map(|(key, v)| reason(v).map(|r| json!({ "key": key, "reason": r }))).collect();
    if !invalid.is_empty() {
        return Err(ApiError::coded(
            400,
            "INVALID_TEMPLATE_VARIABLE_VALUE",
            "A template variable has an invalid value",
        )
        .with("details", json!({ "invalidKeys": invalid })));
    }
    let mut text = template.text.clone();
    for name in &names {
        text = text.replace(&format!("{{{{{name}}}}}"), string(given.get(name)));
    }
    Ok(text)
}

/// What the v3 field `type` calls a media type.
fn kind_of_media(media_type: &Value) -> &str {
    match media_type.as_str() {
        Some("voice") => "audio",
        Some(other) => other,
        None => "image",
    }
}

fn media(fields: &Fields, number: &Number) -> Result<Media, ApiError> {
    let switches: &Switches = fields.switches;
    let media_type = string(fields.body.get("mediaType"));
    let known = ["image", "video", "document", "audio", "voice", "sticker"];
    if !known.contains(&media_type) {
        return Err(fields.bad(format!("mediaType must be one of {}", known.join(", "))));
    }
    let link = string(fields.body.get("media"));
    let url = link.starts_with("http://") || link.starts_with("https://");
    let data = link.starts_with("data:") && link.contains(";base64,");
    if !url && !data {
        return Err(fields.bad("media must be an http(s) URL or a base64 data URI"));
    }
    if data && number.provider != "META" && switches.data_uris_only_on_meta {
        return Err(fields.bad("This number needs media as a public URL"));
    }
    if fields.has("caption") {
        if !fields.body["caption"].is_string() {
            return Err(fields.bad("caption must be a string"));
        }
        if !["image", "video", "document"].contains(&media_type) {
            return Err(fields.bad(format!("{media_type} takes no caption")));
        }
    }
    if !switches.paid_plan {
        return Err(ApiError::coded(402, "SUBSCRIPTION_REQUIRED_FOR_MEDIA", "Sending media needs a paid plan"));
    }
    Ok(Media {
        link: url.then(|| link.to_owned()),
        media_type: media_type.to_owned(),
        caption: fields.body.get("caption").and_then(Value::as_str).map(str::to_owned),
    })
}
