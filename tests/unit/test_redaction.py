from headrace.redaction import redacted, remember_secret


def test_a_secret_never_shows_even_inside_another():
    remember_secret("s3cr3t")
    remember_secret("s3cr3t-and-more")
    assert redacted("key=s3cr3t-and-more, s3cr3t") == "key=***, ***"


def test_a_value_too_short_to_be_a_secret_is_left_alone():
    remember_secret("a")
    assert redacted("banana") == "banana"
