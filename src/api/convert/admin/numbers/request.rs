//! Requests about numbers.

use std::collections::BTreeSet;

use secrecy::SecretString;
use tonic::Status;

use super::{super::Reason, LONGEST_REASON, PageTokens, listed, page_size, reason, settings};
use crate::{
    admin::{
        Etag,
        numbers::{Import, Listed, Registration, Settings},
    },
    api::convert::Violations,
    domain::{
        ids::NumberName,
        secret::{NumberKey, TenantKey},
    },
    proto::admin::v1,
};

/// Ids that an import may be narrowed to.
const MOST_IDS: usize = 1_000;
const LONGEST_PREFIX: usize = 24;

/// Which number, in which state.
pub(in crate::api) struct Aim {
    pub(in crate::api) name: NumberName,
    pub(in crate::api) etag: Option<Etag>,
}

/// Which page of the list.
pub(in crate::api) struct Page {
    state: v1::NumberState,
    after: String,
    most: usize,
    tokens: PageTokens,
}

/// A number to be registered, and whether its key is to be checked.
pub(in crate::api) fn registration(request: v1::RegisterNumberRequest) -> Result<(Registration, bool), Status> {
    let mut wrong = Violations::default();
    let name = wrong.take("name", NumberName::from_text(&request.name));
    let key = wrong.take("key", NumberKey::from_secret(SecretString::from(request.key)));
    let description = settings::description(&mut wrong, "description", request.description);
    let upstream_id = settings::upstream_id(&mut wrong, "upstream_id", request.upstream_id);
    let phone = settings::phone(&mut wrong, "phone_number", &request.phone_number);
    let rotate_every = settings::interval(&mut wrong, "rotate_interval", request.rotate_interval);
    let pacing = settings::pace(&mut wrong, "pace", request.pace);
    let quota = settings::quota(request.quota);
    let read_back = settings::read_back(&mut wrong, "read_back", request.read_back);
    let webhook = settings::doorway(&mut wrong, "webhook", request.webhook);
    reason(&mut wrong, &request.reason, Reason::Optional);
    let disabled = request.disabled;
    let registration = name.zip(key).map(|(name, key)| Registration {
        description,
        upstream_id,
        phone,
        rotate_every,
        pacing,
        quota,
        read_back,
        webhook,
        disabled,
        ..Registration::of(name, key)
    });
    wrong.finish(registration.map(|registration| (registration, request.check)))
}

/// What to import.
pub(in crate::api) fn import(request: v1::ImportNumbersRequest) -> Result<Import, Status> {
    let mut wrong = Violations::default();
    let given = (!request.tenant_key.is_empty()).then(|| SecretString::from(request.tenant_key));
    let tenant_key = given.and_then(|key| wrong.take("tenant_key", TenantKey::from_secret(key)));
    let prefix = request.name_prefix;
    if prefix.len() > LONGEST_PREFIX || !prefix.is_empty() && NumberName::from_text(&prefix).is_err() {
        wrong.add("name_prefix", format!("must be at most {LONGEST_PREFIX} characters with which a name may begin"));
    }
    let counted = wrong.count("upstream_ids", request.upstream_ids.len(), 0..=MOST_IDS);
    let only = counted.map(|()| request.upstream_ids.into_iter().collect::<BTreeSet<_>>());
    reason(&mut wrong, &request.reason, Reason::Optional);
    let (dry_run, disabled) = (request.dry_run, request.disabled);
    wrong.finish(only.map(|only| Import { tenant_key, dry_run, prefix, disabled, only }))
}

/// What stands for a number.
pub(in crate::api) fn word(word: String) -> Result<String, Status> {
    let mut wrong = Violations::default();
    let word = wrong.text("name", word, LONGEST_REASON);
    wrong.finish(word)
}

/// Which number, in which state.
pub(in crate::api) fn aim(name: &str, seen: &str, why: &str) -> Result<Aim, Status> {
    let mut wrong = Violations::default();
    let name = wrong.take("name", NumberName::from_text(name));
    let etag = etag(&mut wrong, seen);
    reason(&mut wrong, why, Reason::Optional);
    wrong.finish(name.map(|name| Aim { name, etag }))
}

/// A number and its key.
pub(in crate::api) fn set_key(request: v1::SetNumberKeyRequest) -> Result<(Aim, NumberKey), Status> {
    let mut wrong = Violations::default();
    let name = wrong.take("name", NumberName::from_text(&request.name));
    let key = wrong.take("key", NumberKey::from_secret(SecretString::from(request.key)));
    let etag = etag(&mut wrong, &request.etag);
    reason(&mut wrong, &request.reason, Reason::Optional);
    wrong.finish(name.zip(key).map(|(name, key)| (Aim { name, etag }, key)))
}

/// The account-wide key, if there is to be one.
pub(in crate::api) fn tenant_key(
    request: v1::SetTenantKeyRequest,
) -> Result<(Option<TenantKey>, Option<Etag>), Status> {
    let mut wrong = Violations::default();
    let given = (!request.key.is_empty()).then(|| SecretString::from(request.key));
    let key = given.and_then(|key| wrong.take("key", TenantKey::from_secret(key)));
    let etag = etag(&mut wrong, &request.etag);
    reason(&mut wrong, &request.reason, Reason::Optional);
    wrong.finish(Some((key, etag)))
}

/// What to change.
pub(in crate::api) fn update(request: v1::UpdateNumberRequest) -> Result<(Aim, Settings), Status> {
    let mut wrong = Violations::default();
    let etag = etag(&mut wrong, &request.etag);
    reason(&mut wrong, &request.reason, Reason::Optional);
    let number = wrong.required("number", request.number).unwrap_or_default();
    let name = wrong.take("number.name", NumberName::from_text(&number.name));
    let paths = request.update_mask.unwrap_or_default().paths;
    if paths.is_empty() {
        wrong.add("update_mask", "must name at least one field");
    }
    let settings = settings::masked(&mut wrong, number, &paths);
    wrong.finish(name.map(|name| (Aim { name, etag }, settings)))
}

/// Which page of the list.
pub(in crate::api) fn page(request: v1::ListNumbersRequest, key: &[u8; 32]) -> Result<Page, Status> {
    let mut wrong = Violations::default();
    let state = v1::NumberState::try_from(request.state);
    let state = state.map_err(|_| wrong.add("state", "is not a known state")).unwrap_or_default();
    let tokens = PageTokens::of(key, "numbers", [state.as_str_name()]);
    let most = page_size(&mut wrong, request.page_size);
    let after = tokens.decode(&mut wrong, &request.page_token).unwrap_or_default();
    wrong.finish(Some(Page { state, after, most, tokens }))
}

impl Page {
    /// The page, of all numbers in the order of their names.
    pub(in crate::api) fn of(self, all: &[Listed]) -> v1::ListNumbersResponse {
        let Self { state, after, most, tokens } = self;
        let wanted = |number: &v1::Number| state == v1::NumberState::Unspecified || number.state() == state;
        let behind = all.iter().filter(|number| number.name() > &*after).map(listed).filter(wanted);
        let mut numbers: Vec<_> = behind.take(most + 1).collect();
        let more = numbers.len() > most;
        numbers.truncate(most);
        let last = numbers.last().filter(|_| more);
        let next_page_token = last.map(|last| tokens.encode(&last.name)).unwrap_or_default();
        v1::ListNumbersResponse { numbers, next_page_token }
    }
}

fn etag(wrong: &mut Violations, text: &str) -> Option<Etag> {
    (!text.is_empty()).then(|| wrong.take("etag", text.parse())).flatten()
}
