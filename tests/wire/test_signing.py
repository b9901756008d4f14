from meterhouse.wire.signing import SigningKeys, derive_key, signing_keys

SECRET = b"s" * 32


def test_a_key_is_derived_as_the_standard_has_it() -> None:
    """Test case 1 of RFC 5869, whose first block this is."""
    secret = bytes.fromhex("077709362c2e32df0ddc3f0dc47bba6390b6c73bb50f9c3122ec844ad7c2b3e5")
    derived = "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf"
    assert derive_key(secret, bytes(range(0xF0, 0xFA))).hex() == derived


def test_every_use_has_a_key_of_its_own_and_every_secret_other_keys() -> None:
    keys = signing_keys(SECRET)
    assert keys == signing_keys(SECRET)
    others = {*keys, *signing_keys(b"t" * 32), SECRET}
    assert len(others) == 2 * len(SigningKeys._fields) + 1
