//! `lead.received`: a form that somebody filled in.

use serde_json::Value;

use super::{
    Arrival, Item,
    fields::{self, Fields},
    identity,
};
use crate::domain::inbound::{Happening, Lead, LeadField};

pub(super) fn read(name: &str, event: &Value, arrival: &Arrival<'_>) -> Option<Item> {
    let mut of = Fields::enveloped(event, arrival)?;
    let at = of.time(&["createdAt"]);
    let fields = answers(&mut of, arrival);
    let lead = Lead {
        lead_id: of.text(&["leadId"]),
        leadgen_id: of.text(&["leadgenId"]),
        page_id: of.text(&["pageId"]),
        form_id: of.text(&["formId"]),
        platform: of.text(&["platform"]),
        full_name: of.text(&["fullName"]),
        email: of.text(&["email"]),
        phone: of.text(&["phone"]),
        organic: of.flag(&["isOrganic"]),
        consent: of.flag(&["consentGiven"]),
        fields,
        extra: of.rest(),
    };
    let identity = identity::of(name, &[&lead.lead_id, &lead.leadgen_id], event, arrival);
    Some(Item::Event(arrival.inbound(name, at, Happening::Lead(Box::new(lead))), identity))
}

/// The answers that can be read. Unless every part of them can, they are left among the unknown fields as well.
fn answers(of: &mut Fields<'_>, arrival: &Arrival<'_>) -> Vec<LeadField> {
    let Some(given) = of.take(&["fields"], |value| value.as_array().cloned()) else { return Vec::new() };
    let mut understood = true;
    let answers = given.iter().filter_map(|one| {
        let Some(mut one) = Fields::of(one, arrival.key) else {
            understood = false;
            return None;
        };
        let given = one.take(&["values"], |values| values.as_array().cloned()).unwrap_or_default();
        let values: Vec<_> = given.iter().filter_map(|value| fields::prose(value, arrival.key)).collect();
        understood &= values.len() == given.len();
        let answer = LeadField { key: one.text(&["key"]), label: one.text(&["label"]), values };
        understood &= one.rest().is_empty();
        Some(answer)
    });
    let answers = answers.collect();
    if !understood {
        of.put("fields", Value::Array(given));
    }
    answers
}
