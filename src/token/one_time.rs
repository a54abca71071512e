//! Issues tokens that work once, and redeems them.

use std::{fmt, marker::PhantomData, sync::Arc};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Serialize, de::DeserializeOwned};

use super::{
    fault::of_token,
    jws,
    jws::Claims,
    pending::{InStore, PendingToken},
    settings::Settings,
};
use crate::{
    error::{ConfigError, Fault, Rejection, RejectionKind, SignError, SignErrorKind, malformed},
    future::within,
    key::{KeyId, KeyStore as _},
    lock::{read, write},
    message::json,
    once::Claim,
};

/// Issues and redeems one-time tokens for one purpose: confirmation links, password resets,
/// invitations, unsubscribing.
///
/// A token is a JSON Web Token (RFC 7519) in JWS compact form (RFC 7515), signed with HMAC-SHA256
/// (`HS256`), so that other libraries issue and read it:
///
/// | where | member | what |
/// | --- | --- | --- |
/// | header | `alg` | `HS256`; nothing else is accepted, and not `none` |
/// | | `kid` | the key id |
/// | | `typ` | `JWT`, or absent |
/// | payload | `aud` | the purpose: a token for another one is refused |
/// | | `iat`, `exp` | whole seconds since 1970; `exp` is after `iat`, by the lifetime at most |
/// | | `jti` | 1 to 256 bytes, which make the token unique under its key; issued with 128 random bits |
/// | | `data` | the payload, of type `T` |
///
/// The profile is closed: any other member (`crit`, `b64`, `jwk`, `nbf` …), a member that appears
/// more than once, a fraction of a second, or more than 8 KiB is refused.
///
/// Guarantees:
/// - **Nothing is read before it was verified**: the algorithm is fixed, the MAC is compared in
///   constant time, and only then is the payload parsed.
/// - **Nothing is given out before it was used up**: [`verify`](Self::verify) answers with a
///   [`PendingToken`], whose payload cannot be read until it is redeemed.
/// - **Redeemed once**: however many attempts are made, on any server, one gets the payload. With a
///   [store](crate::token::OneTimeTokenBuilder::store) the token is claimed before the payload is
///   handed out, and never given back. [In the database transaction of its
///   effects](PendingToken::transact), it is used up if, and only if, they are committed.
/// - **Fails closed**: if the store gives no answer, nobody gets the payload.
///
/// ```
/// use countersign::{KeyRing, MemoryStore, OneTimeToken, RejectionKind};
/// use std::time::Duration;
///
/// # tokio::runtime::Builder::new_current_thread().enable_time().build()?.block_on(async {
/// // The address that is to be confirmed; any type that `serde` reads and writes.
/// let tokens = OneTimeToken::<String>::builder("confirm-address")
///     .keys(KeyRing::new().with("2026-11", "a secret for tokens alone")?)
///     .issue_under("2026-11")
///     .lifetime(Duration::from_secs(3600))
///     .store(MemoryStore::new().danger_assume_no_history())
///     .build()?;
///
/// let token = tokens.issue(&"alice@example.com".to_owned()).await?;
/// assert_eq!(tokens.redeem(&token).await?, "alice@example.com");
///
/// let again = tokens.redeem(&token).await.unwrap_err();
/// assert_eq!(again.kind(), RejectionKind::TokenRedeemed);
/// # Ok::<_, Box<dyn std::error::Error>>(()) }).unwrap();
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
///
/// # Security
/// - Anybody who has a token may use it: hand it over TLS, and keep it out of logs. If it is in
///   a link, answer a GET with a page that asks, and redeem on POST: scanners of mail open links.
/// - Give tokens a secret of their own. A scheme that signs bare bodies would sign, with the same
///   secret, a body that is a token.
/// - A store must remember for as long as a token lives: a [`MemoryStore`](crate::MemoryStore)
///   refuses, after a restart, all tokens that were issued before it (503, `sign_again`). Take a
///   durable one for tokens that live longer than a process.
/// - The payload is signed, and not encrypted: the bearer can read it.
///
/// `M` says what remembers which tokens were redeemed: [`InStore`](crate::token::InStore), or
/// [`InTransaction`](crate::token::InTransaction). A token can be redeemed there and nowhere else:
///
/// ```compile_fail,E0599
/// use countersign::token::{InTransaction, PendingToken};
///
/// async fn wrong(token: PendingToken<String, InTransaction>) {
///     token.redeem().await;
/// }
/// ```
pub struct OneTimeToken<T, M = InStore> {
    pub(super) settings: Arc<Settings>,
    pub(super) memory: M,
    pub(super) payload: PhantomData<fn(T) -> T>,
}

impl<T, M> OneTimeToken<T, M> {
    /// Issues from now on under another key id, on every clone at once. Tokens under the earlier
    /// one are redeemed for as long as its secrets are valid.
    ///
    /// # Errors
    /// Returns an error if the id is not a [`KeyId`], or no secret is known to be under it.
    pub fn rotate(&self, key_id: impl AsRef<str>) -> Result<(), ConfigError> {
        let key_id = KeyId::new(key_id)?;
        self.settings.keys.known_keys().check_has(key_id.as_str())?;
        *write(&self.settings.issue_under) = key_id;
        Ok(())
    }
}

impl<T: Serialize, M> OneTimeToken<T, M> {
    /// Returns a new token around `payload`, which lives for the
    /// [lifetime](crate::token::OneTimeTokenBuilder::lifetime). It is made of letters, digits, `-`,
    /// `_` and two dots, and needs no encoding in a URL.
    ///
    /// A store that does not survive restarts refuses tokens that it may have seen redeemed before
    /// it was made. In its first seconds, as many as
    /// [`max_skew`](crate::token::OneTimeTokenBuilder::max_skew) has and one, tokens are therefore
    /// dated ahead. A token of the first second may be redeemed from the next second on.
    ///
    /// # Errors
    /// Returns an error if the key look-up fails or has no secret that is valid until the token
    /// expires, the payload cannot be written as JSON, the token would be longer than 8 KiB, or the
    /// store refuses tokens because its high watermark is ahead of the clock.
    ///
    /// # Panics
    /// Panics if the key look-up must be waited for, outside of a Tokio runtime with its timer.
    pub async fn issue(&self, payload: &T) -> Result<String, SignError> {
        let settings = &*self.settings;
        let key_id = read(&settings.issue_under).clone();
        let now = settings.clock.now();
        let limit = settings.memory.timeout();
        let found = within(limit, || settings.keys.find(key_id.as_str())).await;
        // A look-up that answers with another key's secrets would let it sign for this one.
        let set = found
            .map_err(Fault::from)?
            .filter(|set| *set.id() == key_id);
        let set = set.as_deref();
        if let Some(other) = set.and_then(|set| set.other_algorithm(jws::ALGORITHM)) {
            return Err(SignError::of_kind(
                SignErrorKind::NoSecret,
                format!(
                    "a secret of key id `{key_id}` is tied to {}, and tokens have {}",
                    other.name(),
                    jws::ALGORITHM.name()
                ),
            ));
        }
        let issued_at = settings.issued_at(now)?;
        let expires_at = issued_at.saturating_add(settings.lifetime);
        let key = set.and_then(|set| set.valid_between(now, expires_at).next());
        let key = key.ok_or_else(|| {
            SignError::of_kind(
                SignErrorKind::NoSecret,
                format!(
                    "no secret is valid under key id `{key_id}` from now until the token expires, \
                     {expires_at}"
                ),
            )
        })?;
        let claims = Claims {
            id: URL_SAFE_NO_PAD.encode(crate::random::bytes::<16>()),
            purpose: settings.purpose.clone(),
            issued_at,
            expires_at,
            data: serde_json::to_value(payload)
                .map_err(|error| SignError::new(format!("the payload is not JSON: {error}")))?,
        };
        jws::write(&claims, &key_id, key).ok_or_else(|| {
            SignError::of_kind(
                SignErrorKind::TooLong,
                format!(
                    "the token would be longer than {} bytes; put less into it",
                    jws::MAX_LEN
                ),
            )
        })
    }
}

impl<T: DeserializeOwned> OneTimeToken<T> {
    /// Verifies the token, claims it in the store, and hands out its payload.
    ///
    /// # Errors
    /// Returns an error if the token is refused, was redeemed before, or the store gives no answer.
    /// After `store_unavailable` it is not known whether the token was used up.
    ///
    /// # Panics
    /// Panics if there is something to wait for, outside of a Tokio runtime with its timer.
    pub async fn redeem(&self, token: &str) -> Result<T, Rejection> {
        self.verify(token).await?.redeem().await
    }
}

impl<T: DeserializeOwned, M: Clone> OneTimeToken<T, M> {
    /// Verifies the token, and redeems nothing: key, MAC, purpose, times, and that the payload is a
    /// `T`. It does not ask whether the token was redeemed before.
    ///
    /// # Errors
    /// Returns an error if the token is refused, or the key look-up gives no answer.
    ///
    /// # Panics
    /// Panics if the key look-up must be waited for, outside of a Tokio runtime with its timer.
    pub async fn verify(&self, token: &str) -> Result<PendingToken<T, M>, Rejection> {
        let (claim, claims) = self.settings.prove(token).await.map_err(of_token)?;
        self.pending(claim, claims)
    }

    /// Verifies a token that is for one resource, such as the one in the path of the request that
    /// brings it: its payload must name that resource at a JSON pointer (RFC 6901). Otherwise the
    /// token is not used up, and nobody gets its payload.
    ///
    /// A string of the payload equals exactly its characters, and an integer its canonical decimal
    /// text alone.
    ///
    /// ```
    /// # use countersign::{OneTimeToken, Rejection};
    /// #[derive(serde::Serialize, serde::Deserialize)]
    /// struct Delete { document: i64 }
    ///
    /// /// `DELETE /documents/{id}?token=…`
    /// async fn delete(
    ///     tokens: &OneTimeToken<Delete>,
    ///     (id, token): (&str, &str),
    /// ) -> Result<Delete, Rejection> {
    ///     tokens.verify_for(token, "/document", id).await?.redeem().await
    /// }
    /// ```
    ///
    /// # Errors
    /// Returns an error as [`verify`](Self::verify) does; and 403, `resource_mismatch`, if the
    /// payload names another resource or none.
    ///
    /// # Panics
    /// Panics if the key look-up must be waited for, outside of a Tokio runtime with its timer.
    pub async fn verify_for(
        &self,
        token: &str,
        pointer: &str,
        resource: &str,
    ) -> Result<PendingToken<T, M>, Rejection> {
        let (claim, claims) = self.settings.prove(token).await.map_err(of_token)?;
        let named = claims.data.pointer(pointer);
        if !named.is_some_and(|named| json::is_named(named, resource)) {
            return Err(Rejection::new(
                RejectionKind::ResourceMismatch,
                format!("the token does not name the resource that it is used for, at `{pointer}`"),
            ));
        }
        self.pending(claim, claims)
    }

    fn pending(&self, claim: Claim, claims: Claims) -> Result<PendingToken<T, M>, Rejection> {
        let payload = serde_json::from_value(claims.data)
            // The parser's own words would quote what is in it.
            .map_err(|_| malformed("`data` is not of the type that these tokens carry"))
            .map_err(of_token)?;
        Ok(PendingToken::new(
            Arc::clone(&self.settings),
            self.memory.clone(),
            claim,
            claims.expires_at,
            payload,
        ))
    }
}

impl<T, M: Clone> Clone for OneTimeToken<T, M> {
    fn clone(&self) -> Self {
        Self {
            memory: self.memory.clone(),
            settings: Arc::clone(&self.settings),
            payload: PhantomData,
        }
    }
}

impl<T, M> fmt::Debug for OneTimeToken<T, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OneTimeToken")
            .field("purpose", &self.settings.purpose)
            .field("lifetime", &self.settings.lifetime)
            .finish_non_exhaustive()
    }
}
