//! Bundles: what a person gets who asks for access or portability (GDPR Art. 15 and 20), and how it is fetched once.
//!
//! A bundle is made when its request is fulfilled: data for machines, a copy for people, and a manifest with the digests of both,
//! signed. It lies in a file of its own, whose key is destroyed when the data was taken, when its time is over, when anything of
//! the person is destroyed, and with the person. So a bundle never outlives what it shows.

mod copy;
mod data;
mod parts;
mod records;

use std::collections::HashMap;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use jiff::{SignedDuration, Timestamp};
use keys::{Id, SystemKey};
use minicbor::{Decode, Encode};
use parking_lot::Mutex;

use crate::audit::manifest::{self, Manifest};
use crate::audit::{Entry, Note, Outcome};
use crate::model::caller::Operation;
use crate::model::code::Code;
use crate::model::ids::{RequestId, SubjectId, TenantId, VaultId};
use crate::model::wire::{Part, RequestType};
use crate::store::layout::RowKey;
use crate::tenant::Tenant;

use super::call::{Answer, Call, Pieces, Refused};
use super::committer::{Change, Committer};
use super::core::{Core, Person, first16};
use super::erasure::by_vault::scheduler_of;
use super::lifecycle::{Opened, Vault};
use super::papers;
use super::requests;
use super::rows::{RequestRow, pack, time, unpack};
use data::Rendering;
use parts::{COPY, DATA, HEAD, PARTS, Writer, place};

/// The level of verification from which on fields of high sensitivity are in a bundle in clear: a document was seen.
const CLEAR: u8 = 2;

/// How often a bundle is begun again because something of the person was destroyed while it was made.
const TRIES: usize = 3;

/// Papers of one piece of an answer: about 44 KB.
const TOGETHER: u32 = 8;

/// What a download code begins with.
const CODE_PREFIX: &str = "claim_";

/// The state of a request whose bundle is given out.
const FULFILLED: &str = "fulfilled";

/// Requests looked at together.
const PAGE: usize = 256;

/// What is known of a bundle: the first paper of its file. Times are microseconds since 1970.
#[derive(Encode, Decode)]
#[cbor(map)]
struct Head {
    #[cbor(n(0), with = "minicbor::bytes")]
    tenant: [u8; 16],
    #[cbor(n(1), with = "minicbor::bytes")]
    tag: [u8; 16],
    #[n(2)]
    expires_at: i64,
    /// Bytes of each part.
    #[n(3)]
    bytes: Vec<u64>,
    /// Papers of each part.
    #[n(4)]
    pieces: Vec<u32>,
    /// With its signature.
    #[n(5)]
    manifest: String,
}

/// Bundles that are being made or taken, and those that were taken, by their file: one time is one time, whoever comes together.
#[derive(Default)]
pub(crate) struct Downloads(Mutex<HashMap<Id, Doing>>);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Doing {
    Making,
    Taking,
    Taken,
}

impl Downloads {
    fn doing(&self, file: &Id) -> Option<Doing> {
        self.0.lock().get(file).copied()
    }
}

/// A turn with a bundle: as long as it lives, nobody else has one.
struct Turn<C: AsRef<Core>> {
    core: C,
    file: Id,
}

impl<C: AsRef<Core>> Turn<C> {
    fn take(core: C, file: Id, what: Doing) -> Result<Self, Code> {
        let mut under_way = core.as_ref().downloads.0.lock();
        match under_way.get(&file) {
            Some(Doing::Taken) if what == Doing::Taking => return Err(Code::ResultGone),
            Some(Doing::Making | Doing::Taking) => return Err(Code::StateConflict),
            Some(Doing::Taken) | None => drop(under_way.insert(file, what)),
        }
        drop(under_way);
        Ok(Self { core, file })
    }

    /// The last piece was handed over.
    fn taken(&self) {
        self.core.as_ref().downloads.0.lock().insert(self.file, Doing::Taken);
    }
}

impl<C: AsRef<Core>> Drop for Turn<C> {
    fn drop(&mut self) {
        let mut under_way = self.core.as_ref().downloads.0.lock();
        if under_way.get(&self.file) != Some(&Doing::Taken) {
            under_way.remove(&self.file);
        }
    }
}

/// A core that somebody else holds.
struct Borrowed<'a>(&'a Core);

impl AsRef<Core> for Borrowed<'_> {
    fn as_ref(&self) -> &Core {
        self.0
    }
}

/// The file of a request's bundle. It is not the request's own, so that letters and evidence stay when the bundle goes.
pub(crate) fn file_of(core: &Core, request: &Id) -> Id {
    first16(&keys::digest::sha256(&[b"pv1/bundle", &core.vault, request]))
}

/// Makes the bundle of a request that is about to be fulfilled, and gives the code by which it can be fetched without other
/// credentials. What an earlier try left is begun anew.
pub(crate) async fn make(
    core: &Core,
    committer: &Committer,
    tenant: &Tenant,
    person: &Person,
    request: RequestId,
    portable: bool,
) -> Result<String, Refused> {
    let file = file_of(core, request.bytes());
    let _turn = Turn::take(Borrowed(core), file, Doing::Making)?;
    let mut last = Refused::from(Code::Overloaded);
    for _ in 0..TRIES {
        papers::destroy(core, committer, &file).await?;
        // As it is now: what was destroyed since the call began is no reason to begin again.
        let Some(person) = core.person(tenant, person.id)? else { return Err(Code::Erased.into()) };
        match make_once(core, committer, tenant, &person, request, portable).await {
            Err(refused) if refused.code == Code::Stale => last = refused,
            done => return done,
        }
    }
    Err(last)
}

async fn make_once(
    core: &Core,
    committer: &Committer,
    tenant: &Tenant,
    person: &Person,
    request: RequestId,
    portable: bool,
) -> Result<String, Refused> {
    let now = core.clock.now();
    let days = SignedDuration::from_hours(24 * i64::from(core.bundle_days));
    let expires_at = now.checked_add(days).map_err(|_| Code::Internal)?;
    let mut begun = Change::default();
    let file = papers::begin(core, &file_of(core, request.bytes()), &mut begun)?;
    let writer = Writer::new(core, committer, person, file, begun);
    let rendering =
        Rendering { core, tenant, person, request, portable, made_at: now, expires_at, clear: is_clear(core, request)? };
    let writer = data::render(&rendering, writer).await?;
    writer
        .finish(|parts, pieces| {
            let bytes = parts.iter().map(|part| part.bytes).collect();
            let manifest = Manifest {
                format: manifest::FORMAT.into(),
                version: manifest::VERSION,
                vault: VaultId::from_bytes(core.vault),
                request,
                kind: rendering.kind().to_owned(),
                policy_version: tenant.version().to_owned(),
                made_at: now,
                expires_at,
                parts,
            };
            let manifest = manifest::signed(&manifest, |message| core.hierarchy.sign(message)).map_err(|_| Code::Internal)?;
            let (tenant, tag) = (person.row.tenant, person.tag);
            pack(&Head { tenant, tag, expires_at: expires_at.as_microsecond(), bytes, pieces, manifest })
        })
        .await?;
    Ok(code(core, request))
}

/// The code by which a bundle can be fetched: worked out from the request's id under the vault's key whenever it is needed, so that
/// it is kept nowhere, and its holder is told afterwards that the bundle is gone.
fn code(core: &Core, request: RequestId) -> String {
    code_of(&core.hierarchy.keyed_digest("bundle-code", &[request.bytes()]))
}

fn code_of(digest: &[u8; 32]) -> String {
    crate::auth::token_text(digest).replacen(crate::auth::TOKEN_PREFIX, CODE_PREFIX, 1)
}

/// Whether it is the code of this request: the one that the row key makes, or one that a former one made.
fn holds(core: &Core, request: RequestId, row: &RequestRow, code: &str) -> bool {
    let digest = |code: &str| keys::digest::sha256(&[code.as_bytes()]);
    let given = digest(code);
    let living = core.hierarchy.named_digests(&keys::named("bundle-code", &[request.bytes()]));
    let known = living.iter().map(|living| digest(&code_of(living)));
    let former = row.former_codes.chunks_exact(32).filter_map(|former| former.try_into().ok());
    known.chain(former).fold(false, |holds, known| keys::digest::same(&known, &given) | holds)
}

/// A request's row under the newest row key, with the code that an older one makes; `None` where it is so already.
pub(crate) fn turned_over(core: &Core, id: RequestId, key: &[u8], sealed: &[u8]) -> Result<Option<Vec<u8>>, Refused> {
    let plain = core.hierarchy.open_row(key, sealed)?;
    let mut row: RequestRow = unpack(plain.bytes())?;
    let mut is_current = core.hierarchy.age_of(SystemKey::Row, sealed) == Some(0);
    if matches!(row.kind()?, RequestType::Access | RequestType::Portability) {
        for older in core.hierarchy.named_digests(&keys::named("bundle-code", &[id.bytes()])).iter().skip(1) {
            let digest = keys::digest::sha256(&[code_of(older).as_bytes()]);
            if !row.former_codes.chunks_exact(32).any(|known| keys::digest::same(known, &digest)) {
                row.former_codes.extend_from_slice(&digest);
                is_current = false;
            }
        }
    }
    if is_current { Ok(None) } else { requests::seal(core, id, &row).map(Some) }
}

/// Whether fields of high sensitivity are in the bundle in clear: where somebody saw who asks, rather than that a session or an
/// address is theirs.
fn is_clear(core: &Core, request: RequestId) -> Result<bool, Refused> {
    let level = requests::load(core, request)?.and_then(|(_, row)| row.level);
    Ok(level.is_some_and(|level| level >= CLEAR))
}

impl Vault {
    /// getRequestResult: a part of the bundle, for the person, or for an officer who fulfils rights. The data goes once: with its
    /// last piece the bundle is gone.
    pub async fn request_result(&self, call: &Call, id: RequestId, part: Part) -> Result<Answer, Refused> {
        let operation = Operation::GetRequestResult;
        let opened = self.opened()?;
        let core = &opened.core;
        let tenant = core.tenant(&call.caller)?;
        let found = requests::load(core, id)?.filter(|(_, row)| row.tenant == *tenant.id().bytes());
        let tag = found.as_ref().map(|(_, row)| row.tag);
        let subject = found.as_ref().and_then(|(_, row)| row.subject).map(SubjectId::from_bytes);
        let person = match subject {
            Some(subject) => core.person(&tenant, subject)?,
            None => None,
        };
        let about = person.as_ref().map(|person| person.facts(&tenant, core.clock.now()));
        let facts = match (&person, &about) {
            (Some(person), Some(about)) => core.facts_about(&tenant, call, person, about),
            _ => core.facts(&tenant),
        };
        let allowed = core.decide(call, operation, &facts, tag)?;
        // Who is not the person takes it for the person's rights, and for nothing else.
        if call.caller.subject.is_none()
            && let Some(code) = hindrance(&tenant, call)
        {
            return Err(core.refuse(call, operation, code, tag));
        }
        let Some((_, row)) = found else { return Err(core.refuse(call, operation, Code::NotFound, None)) };
        let there = there(core, id, &row)?.and_then(|head| Ok((head, turn(&opened, id, part)?)));
        let (head, turn) = there.map_err(|code| core.refuse(call, operation, code, tag))?;
        let mut entry = core.entry(call, operation, Outcome::Allowed)?;
        entry.tag = tag;
        let admitted = core.admit(&allowed, entry).await?;
        let answer = self.part(id, part, head, turn)?;
        Ok(Answer { decision: Some(admitted.decision), ..answer })
    }

    /// getRequestResult for the holder of the download code, who needs no other credentials.
    pub async fn request_result_by_claim(&self, id: RequestId, code: &str, part: Part) -> Result<Answer, Refused> {
        let opened = self.opened()?;
        let core = &opened.core;
        let Some((_, row)) = requests::load(core, id)?.filter(|(_, row)| holds(core, id, row, code)) else {
            return Err(Code::NotFound.into());
        };
        let mut entry = core.event(Operation::GetRequestResult.text(), Outcome::Allowed, Note::None)?;
        entry.tag = Some(row.tag);
        // Nobody is known to have asked; whose business it is shall be in the trail all the same.
        let tenant = core.tenants.get(&TenantId::from_bytes(row.tenant));
        entry.caller = tenant.map(|tenant| scheduler_of(core, &tenant));
        let decision = entry.decision;
        let there = there(core, id, &row)?.and_then(|head| Ok((head, turn(&opened, id, part)?)));
        let (head, turn) = match there {
            Ok(there) => there,
            Err(code) => {
                let entry = Entry { outcome: Outcome::Refused { guard: None, code }, ..entry };
                let _ticket = core.trail.append(&[entry])?;
                return Err(Refused { decision: Some(decision), ..code.into() });
            }
        };
        let ticket = core.trail.append(&[entry])?;
        let _receipt = core.trail.released(ticket, core.reads).await?;
        let answer = self.part(id, part, head, turn)?;
        Ok(Answer { decision: Some(decision), ..answer })
    }

    /// A part as it goes out: opened a few papers at a time, at the pace of the peer. The keys are asked for anew each time, so that
    /// a bundle that is destroyed, and a vault that is sealed, end the download.
    fn part(&self, request: RequestId, part: Part, head: Head, turn: Option<Download>) -> Result<Answer, Refused> {
        let number = match part {
            Part::Manifest => return Ok(Answer { body: Some(head.manifest.into_bytes()), ..Answer::default() }),
            Part::Data => DATA,
            Part::Copy => COPY,
        };
        let (length, pieces) = head.bytes.get(number).zip(head.pieces.get(number)).ok_or(Code::StoreUnavailable)?;
        let (length, pieces) = (*length, *pieces);
        let vault = self.clone();
        let (mut at, mut turn) = (0, turn);
        let next = move || {
            if at == pieces {
                return None;
            }
            let to = pieces.min(at + TOGETHER);
            let read = vault.opened().and_then(|opened| {
                let text = papers(&opened.core, &file_of(&opened.core, request.bytes()), number, at..to)?;
                if to == pieces
                    && let Some(turn) = turn.take()
                {
                    turn.taken();
                    taken(opened, turn);
                }
                Ok(text)
            });
            // After a piece that could not be read there is none.
            at = if read.is_ok() { to } else { pieces };
            Some(read)
        };
        let (_, media) = PARTS[number];
        let rest = Some(Pieces::of_length(Box::new(next), length));
        Ok(Answer { media: Some(media), body: Some(Vec::new()), rest, ..Answer::default() })
    }
}

/// Why somebody who is not the person does not get a bundle: it takes the purpose that fulfils rights.
fn hindrance(tenant: &Tenant, call: &Call) -> Option<Code> {
    let Some(id) = call.purpose.as_deref() else { return Some(Code::PurposeRequired) };
    match tenant.purpose(id) {
        None => Some(Code::PurposeNotPublished),
        Some(purpose) if !purpose.any_group => Some(Code::RoleForbidden),
        Some(purpose) => (!call.caller.purposes.contains(&purpose.id)).then_some(Code::PurposeNotGranted),
    }
}

/// The bundle of a request; where there is none, whether there is none yet, or no more. Before the request is fulfilled it is given
/// to nobody.
fn there(core: &Core, id: RequestId, row: &RequestRow) -> Result<Result<Head, Code>, Refused> {
    let kind = row.kind()?;
    if row.state()? != FULFILLED || !matches!(kind, RequestType::Access | RequestType::Portability) {
        return Ok(Err(Code::StateConflict));
    }
    let file = file_of(core, id.bytes());
    let keeps = |head: &Head| !is_over(head, core.clock.now()) && core.downloads.doing(&file) != Some(Doing::Taken);
    Ok(head(core, &file)?.filter(keeps).ok_or(Code::ResultGone))
}

/// The turn of a download of the data; the other parts need none.
fn turn(opened: &Opened, request: RequestId, part: Part) -> Result<Option<Download>, Code> {
    let file = file_of(&opened.core, request.bytes());
    (part == Part::Data).then(|| Turn::take(opened.core.clone(), file, Doing::Taking)).transpose()
}

/// A download of the data.
type Download = Turn<Arc<Core>>;

/// Some papers of a part, one behind the other.
fn papers(core: &Core, file: &Id, part: usize, range: std::ops::Range<u32>) -> Result<Bytes, Refused> {
    let file = papers::open(core, file)?.ok_or(Code::ResultGone)?;
    let mut text = BytesMut::new();
    for piece in range {
        let paper = file.one(core, place(part, piece))?.ok_or(Code::StoreUnavailable)?;
        text.extend_from_slice(&paper.text);
    }
    Ok(text.freeze())
}

/// Destroys a bundle whose data was taken, behind the answer. Should that fail, it is not given out again, and the next sweep destroys
/// it.
fn taken(opened: Arc<Opened>, turn: Download) {
    let destroy = async move {
        match papers::destroy(&opened.core, &opened.committer, &turn.file).await {
            Ok(()) => drop(opened.core.downloads.0.lock().remove(&turn.file)),
            Err(refused) => tracing::error!(code = refused.code.text(), "a bundle that was taken could not be destroyed yet"),
        }
    };
    match tokio::runtime::Handle::try_current() {
        Ok(runtime) => drop(runtime.spawn(destroy)),
        Err(_) => tracing::error!("a bundle was taken outside of the server; it goes when its time is over"),
    }
}

/// Destroys every bundle whose time is over or that was never finished, and says how many.
pub(crate) async fn due(core: &Core, committer: &Committer) -> Result<usize, Refused> {
    let now = core.clock.now();
    let (mut after, mut over) = (None::<Vec<u8>>, Vec::new());
    loop {
        let page = core.store.scan(b"q", after.as_deref(), PAGE)?;
        let Some((last, _)) = page.last() else { break };
        after = Some(last.clone());
        for (key, _) in page {
            let Some(RowKey::Request(id)) = RowKey::parse(&key) else { return Err(Code::StoreUnavailable.into()) };
            let file = file_of(core, id.bytes());
            let doing = core.downloads.doing(&file);
            if papers::open(core, &file)?.is_none() || doing == Some(Doing::Making) {
                continue;
            }
            let keeps = head(core, &file)?.is_some_and(|head| !is_over(&head, now) && doing != Some(Doing::Taken));
            if !keeps {
                over.push(file);
            }
        }
    }
    for destroyed in papers::destroy_all(core, committer, &over).await {
        destroyed?;
    }
    Ok(over.len())
}

fn is_over(head: &Head, now: Timestamp) -> bool {
    time(head.expires_at) <= now
}

/// The head of a bundle; none before it is finished, and after it is gone.
fn head(core: &Core, file: &Id) -> Result<Option<Head>, Refused> {
    let Some(file) = papers::open(core, file)? else { return Ok(None) };
    file.one(core, HEAD)?.map(|paper| unpack(&paper.text)).transpose()
}
