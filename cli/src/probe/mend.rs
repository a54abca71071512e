//! How faults are mended: in general, and with the means of four frameworks.

/// The advice.
#[derive(Debug)]
pub(crate) struct Mend {
    pub(crate) general: &'static str,
    pub(crate) django: &'static str,
    pub(crate) fastapi: &'static str,
    pub(crate) express: &'static str,
    pub(crate) axum: &'static str,
}

impl Mend {
    /// The frameworks, and what to do in each.
    pub(crate) fn frameworks(&self) -> [(&'static str, &'static str); 4] {
        [
            ("Django", self.django),
            ("FastAPI", self.fastapi),
            ("Express", self.express),
            ("Axum", self.axum),
        ]
    }
}

pub(super) const CLAIM: Mend = Mend {
    general: "Record the nonce, or the digest of the signed message, in one atomic step that fails if \
              it is recorded already: after the signature is verified, before the effect, in a store \
              that all workers share and that forgets nothing while the signature is valid.",
    django: "Insert into a table with a unique constraint inside `transaction.atomic()` and answer 409 \
             on `IntegrityError`; `cache.add()` is atomic only on a shared cache, and never \
             `cache.get()` followed by `cache.set()`.",
    fastapi: "`await redis.set(key, 1, nx=True, ex=305)`, or INSERT … ON CONFLICT DO NOTHING in \
              the transaction of the effect. Each worker has variables of its own, so a set in a module \
              is not shared.",
    express: "`await redis.set(key, 1, { NX: true, EX: 305 })`, or INSERT … ON CONFLICT DO \
              NOTHING in the transaction of the effect. Everything between two `await`s can run twice.",
    axum: "`countersign::VerifyLayer` with a shared store does this; `Processing::InTransaction` records \
           the nonce in the transaction of the effect.",
};

pub(super) const LOCK: Mend = Mend {
    general: "Check the state and change it in one step: a conditional update, a lock on the row, or a \
              unique constraint on the event.",
    django: "`select_for_update()` inside `transaction.atomic()`, or `filter(pk=…, status='new')\
             .update(status='paid')` and go on only if it changed a row.",
    fastapi: "`select(…).with_for_update()`, or UPDATE … WHERE status = 'new' and go on only if \
              `rowcount` is 1.",
    express: "UPDATE … WHERE status = 'new' and go on only if `rowCount` is 1; never `findOne` and then \
              `save`.",
    axum: "`pending.transact(&pool, …)` with SELECT … FOR UPDATE, or UPDATE … WHERE version = $1 from \
           `SignedVersion`.",
};

pub(super) const BYTES: Mend = Mend {
    general: "Build the signed message from the bytes and facts that the handler acts on: the body as \
              received, before any parser, and method, path and query as they came. Then act on those \
              alone.",
    django: "Verify `request.body`, and take the target from `request.get_full_path()` or \
             `request.META['RAW_URI']`; parse with `json.loads` only afterwards.",
    fastapi: "Verify `await request.body()`, `request.scope['raw_path']` and `query_string`, in a \
              dependency that runs before a Pydantic model is made.",
    express: "`express.raw({ type: '*/*' })`, verify the buffer and `req.originalUrl`, then \
              `JSON.parse`; never sign `JSON.stringify(req.body)`.",
    axum: "Read `VerifiedJson`, `VerifiedPath` and `VerifiedQuery`: they hold what was verified and \
           nothing else.",
};

pub(super) const TIME: Mend = Mend {
    general: "Let the signature cover the time. Read the time as whole digits, and compare it with the \
              clock: refuse a request that is older than the window, or dated more than a few seconds \
              ahead. Refuse a missing time, and never replace it by the current time.",
    django: "`if not ts.isascii() or not ts.isdigit() or not -5 <= time.time() - int(ts) <= 300: return \
             HttpResponse(status=401)`",
    fastapi: "`if not ts.isascii() or not ts.isdigit() or not -5 <= time.time() - int(ts) <= 300: raise \
              HTTPException(401)`; a default for the header hides that it is missing.",
    express: "`const age = Date.now() / 1000 - ts; if (!/^\\d{1,12}$/.test(ts) || age > 300 || age < -5) \
              return res.sendStatus(401)`; a comparison with NaN is always false.",
    axum: "`VerifyLayer` checks it before the body is read and again after; `max_age` and `max_skew` set \
           the window.",
};

pub(super) const SIGNATURE: Mend = Mend {
    general: "Require one signature, of the full length, under the one algorithm that is configured, \
              and compare it in constant time. Refuse anything else in its place.",
    django: "`hmac.compare_digest(expected, given)` on whole values, in one decorator around every view.",
    fastapi: "`hmac.compare_digest(expected, given)` on whole values, in a dependency of the router and \
              not of single routes.",
    express: "Compare lengths, then `crypto.timingSafeEqual`; install the check with `app.use` before \
              every route.",
    axum: "`.layer(VerifyLayer)` around the whole router; an extractor such as `VerifiedPayload` answers \
           500 where the layer is missing.",
};

pub(super) const COVER: Mend = Mend {
    general: "Let the signature cover method, authority, path, query, time, a nonce and the body. If the \
              sender's format is fixed, give each endpoint a secret of its own, and act on nothing that \
              is not covered.",
    django: "Build the message of `request.method`, `request.get_full_path()`, the time, the nonce and \
             `request.body`, one part a line.",
    fastapi: "Build the message of `request.method`, `request.scope['raw_path']`, the query, the time, \
              the nonce and the body, one part a line.",
    express: "Build the message of `req.method`, `req.originalUrl`, the time, the nonce and the raw \
              body, one part a line.",
    axum: "`HttpMessageSignatures` (RFC 9421) covers all of it; read from `VerifiedPayload` alone.",
};

pub(super) const IDENTITY: Mend = Mend {
    general: "Take the identifier from what is signed. If the path names one, too, compare them, and \
              answer 403 if they differ.",
    django: "`if str(payload['id']) != kwargs['id']: return HttpResponse(status=403)`, or leave the \
             identifier out of the path.",
    fastapi: "`if payload.id != id: raise HTTPException(403)`, after the signature is verified.",
    express: "`if (String(payload.id) !== req.params.id) return res.sendStatus(403)`.",
    axum: "`VerifiedPath` answers 403 unless the path is covered, and is the path that was routed.",
};

pub(super) const LIMITS: Mend = Mend {
    general: "If the head of a request shows that it must be refused, refuse it without its body. Limit \
              the length of bodies, and give the whole body one deadline.",
    django: "`DATA_UPLOAD_MAX_MEMORY_SIZE`, and `client_max_body_size` with `client_body_timeout` in the \
             proxy before it.",
    fastapi: "Count bytes in `request.stream()` and wrap it in `asyncio.timeout`, or limit both in the \
              proxy.",
    express: "`express.raw({ limit: '1mb' })` and `server.requestTimeout`.",
    axum: "`max_body_bytes` and `body_deadline` of `VerifyLayer`: 1 MiB and 10 s by default.",
};
