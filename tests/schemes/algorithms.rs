//! HMAC-SHA1 is accepted for the senders that know nothing else, and nowhere else.

use countersign::{
    ConfigError, HeaderScheme, HttpMessageSignatures, KeyRing, MemoryStore, Part, Secret, Signer,
    Verifier,
    error::ConfigErrorKind,
    inspect::Inspector,
    scheme::MacAlgorithm::{self, HmacSha1, HmacSha256, HmacSha512},
    webhooks::{AnyPreset, Mailgun, Trello, Twilio},
};

const SECRET: &str = "the secret of the sender";

#[test]
fn hmac_sha1_is_for_four_senders() {
    let presets = AnyPreset::all().map(|preset| (preset.name(), Inspector::new(preset)));
    let by_code = [
        ("mailgun", Inspector::new(Mailgun::new())),
        ("twilio", Inspector::new(Twilio::new())),
    ];
    let others = [(
        "http-message-signatures",
        Inspector::new(HttpMessageSignatures::default()),
    )];
    let mut names: Vec<_> = presets
        .chain(by_code)
        .chain(others)
        .filter(|(_, scheme)| scheme.algorithm() == HmacSha1)
        .map(|(name, _)| name)
        .collect();
    names.sort_unstable();
    assert_eq!(names, ["intercom", "trello", "twilio", "vercel"]);
}

fn house(algorithm: MacAlgorithm) -> Result<HeaderScheme, ConfigError> {
    HeaderScheme::builder("x-signature")
        .algorithm(algorithm)
        .fixed_key_id("partner")
        .time("x-time")
        .signs(Part::lines([Part::Time, Part::Body]))
        .build()
}

#[test]
fn a_house_format_with_hmac_sha1_is_refused() {
    for algorithm in [HmacSha256, HmacSha512] {
        assert_eq!(
            Inspector::new(house(algorithm).unwrap()).algorithm(),
            algorithm
        );
    }
    let refused = house(HmacSha1).unwrap_err();
    let expected = "HMAC-SHA1 is for the webhooks of senders that know nothing else";
    assert!(refused.to_string().contains(expected), "{refused}");
}

/// A secret that is tied to HMAC-SHA1 is of use to those senders, and a secret that is tied to another
/// algorithm is not.
#[test]
fn a_secret_that_is_tied_to_hmac_sha1_is_for_those_senders() {
    let tied = |algorithm| Secret::try_from(SECRET).unwrap().for_algorithm(algorithm);
    let trello = |algorithm| {
        let keys = KeyRing::new().with("trello", tied(algorithm)).unwrap();
        let verifier = Verifier::builder(Trello::new()).public_origin("https://example.com");
        let verifier = verifier.keys(keys).store(MemoryStore::new()).build();
        verifier.map(drop)
    };
    let house = |algorithm| {
        let scheme = house(HmacSha256).unwrap();
        Signer::new(scheme, "partner", tied(algorithm)).map(drop)
    };
    let is_refused = |outcome: Result<(), ConfigError>| {
        let error = outcome.unwrap_err();
        matches!(error.kind(), ConfigErrorKind::OtherAlgorithm { .. })
    };
    trello(HmacSha1).unwrap();
    assert!(is_refused(trello(HmacSha256)));
    house(HmacSha256).unwrap();
    assert!(is_refused(house(HmacSha1)));
}
