//! Routes that sign.

use std::{path::Path, time::Duration};

use countersign::{Secret, Signer};
use http::HeaderName;
use toml::Spanned;

use super::{
    super::{
        buffered::Buffered,
        keys::Owners,
        signing::Signing,
        upstream::{Origin, Signs, Upstream},
        written,
    },
    keys::place_of,
    listeners::Listen,
    upstreams::Upstreams,
    values::{self, fault_of, max_body, seconds},
};
use crate::{scheme::Chosen, toml_file::Fault};

/// For a whole body.
const BODY_DEADLINE: Duration = Duration::from_secs(10);

/// A route that signs, and where an application reaches it.
#[derive(Debug)]
pub(in crate::proxy) struct Sign {
    pub(in crate::proxy) listen: Listen,
    pub(in crate::proxy) signing: Signing,
}

/// One table of routes that sign, while it is read.
pub(super) struct ReadingSign<'w> {
    pub(super) written: &'w written::Sign,
    pub(super) folder: &'w Path,
    /// The room for the bodies of all routes.
    pub(super) body_bytes: usize,
    pub(super) upstreams: &'w Upstreams<'w>,
    /// The owners of the secrets of routes that verify.
    pub(super) owners: &'w Owners,
}

impl ReadingSign<'_> {
    pub(super) fn sign(&self) -> Result<Sign, Fault> {
        let written = self.written;
        let name = values::name(&written.name)?;
        let listen = self.listen()?;
        let upstream = self.upstreams.find(&written.upstream)?;
        if !upstream.is_private() && !written.danger_plain_upstream {
            return Err(Fault::at(
                written.upstream.span(),
                "the signed requests could be read on their way, and sent before they arrive",
            )
            .advising("choose an upstream whose address begins with https://"));
        }
        let signs = Signs {
            origin: self.origin(&upstream)?,
            signer: self.signer()?,
            id_header: self.id_header()?,
            upstream,
        };
        let max_bytes = max_body(written.max_body_bytes.as_ref(), self.body_bytes)?;
        let deadline = seconds(written.body_deadline.as_ref(), 1..3601)?;
        let bodies = Buffered {
            max_bytes: max_bytes.unwrap_or(1024 * 1024),
            deadline: deadline.unwrap_or(BODY_DEADLINE),
        };
        let signing = Signing {
            name,
            bodies,
            signs,
        };
        Ok(Sign { listen, signing })
    }

    fn listen(&self) -> Result<Listen, Fault> {
        let written = &self.written.listen;
        let listen = Listen::read(written, self.folder)?;
        match listen.is_local() || self.written.danger_listen_to_others {
            true => Ok(listen),
            false => Err(Fault::at(
                written.span(),
                "others than this host could have their requests signed",
            )
            .advising("listen on \"127.0.0.1:PORT\" or on \"unix:PATH\"")),
        }
    }

    fn origin(&self, upstream: &Upstream) -> Result<Origin, Fault> {
        match &self.written.origin {
            Some(origin) => Origin::parse(origin.get_ref()).ok_or_else(|| {
                Fault::at(origin.span(), "it is not the origin of a server")
                    .advising("write one such as \"https://api.example.com\"")
            }),
            None => Origin::of(upstream.address()).ok_or_else(|| {
                Fault::at(
                    self.written.upstream.span(),
                    "requests to a socket are signed for no host",
                )
                .advising("add `origin`, such as \"https://api.example.com\"")
            }),
        }
    }

    fn signer(&self) -> Result<Signer, Fault> {
        let chosen = values::scheme(&self.written.scheme, self.folder)?;
        let (id, place) = place_of(&self.written.key, self.folder)?;
        let at = self.written.key.span();
        let id = self.key_id(&chosen, id.as_deref())?;
        let secret = place
            .read()
            .map_err(|failure| fault_of(at.clone(), failure))?;
        let read = chosen.secret_from(&secret);
        let read = read.map_err(|failure| fault_of(at.clone(), failure))?;
        self.refuse_shared(&read)?;
        let signer = chosen.signer(id, &secret);
        signer.map_err(|failure| fault_of(at, failure))
    }

    fn key_id<'i>(&self, chosen: &Chosen, id: Option<&'i str>) -> Result<Option<&'i str>, Fault> {
        let at = self.written.key.span();
        match (chosen.names_key(), id) {
            (true, None) => Err(Fault::at(
                at,
                "requests of this scheme name their key, and it has no id",
            )
            .advising("add `id`, with the id that the receiver knows the secret by")),
            (false, Some(_)) => {
                Err(Fault::at(at, "requests of this scheme name no key").advising("leave out `id`"))
            }
            (_, id) => Ok(id),
        }
    }

    /// Refuses a secret of a route that verifies: signatures made under it could be sent to that
    /// route.
    fn refuse_shared(&self, secret: &Secret) -> Result<(), Fault> {
        let owner = self.owners.owner_of(secret);
        let owner = owner.filter(|_| !self.written.danger_shared_secret);
        owner.map_or(Ok(()), |owner| {
            Err(Fault::at(
                self.written.key.span(),
                format!("the route `{owner}` accepts what is signed with this secret"),
            )
            .advising("sign with another secret than those that routes accept"))
        })
    }

    fn id_header(&self) -> Result<Option<HeaderName>, Fault> {
        let read = |name: &Spanned<String>| {
            let parsed = name.get_ref().parse();
            parsed.map_err(|_| Fault::at(name.span(), "it is not the name of a header"))
        };
        self.written.id_header.as_ref().map(read).transpose()
    }
}
