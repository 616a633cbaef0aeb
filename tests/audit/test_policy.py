from __future__ import annotations

import pytest

from melascope.audit.policy import DEFAULTS, Policy, from_json, load_policy
from melascope.audit.verdict import KINDS
from melascope.errors import DataError


def test_the_default_policy_names_every_kind_of_problem():
    assert set(DEFAULTS) == set(KINDS)


def test_the_command_line_names_every_kind_of_problem():
    from melascope.cli import data

    assert set(data.KINDS) == set(KINDS)


def test_what_a_file_does_not_name_stays_as_it_is(tmp_path):
    path = tmp_path / "policy.toml"
    path.write_text('[problems]\noutlier = "exclude"\n[usable]\nmost_unreadable = 0.1\n')
    policy = load_policy(path)
    assert policy.excludes("outlier")
    assert policy.excludes("byte_identical")
    assert not policy.excludes("lesion_repeat")
    assert policy.most_unreadable == 0.1
    assert from_json(policy.to_json()) == policy
    assert from_json({}) == Policy()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[problems]\noutlyer = "warn"', '"outlyer" is no problem; did you mean "outlier"?'),
        ("[limits]\na = 1", '"limits" is no section'),
        ('[problems]\noutlier = "drop"', 'outlier = \'drop\' is impossible; it is "exclude" or "warn".'),
        ('[problems]\nid_conflict = "warn"', "since a label is never guessed"),
        ('[problems]\nphotograph_leak = "warn"', "is no test"),
        ('[problems]\nimbalance = "exclude"', "names no photograph"),
        ('[problems]\noutlier = "correct"', "is impossible"),
        ("problems = 3", "problems is a section"),
        ("[usable]\nmost_unreadable = true", "most_unreadable = True is impossible"),
        ("[usable]\nmost_unreadable = 2", "a share from 0 to 1"),
        ("[problems", "not valid TOML"),
    ],
)
def test_a_policy_that_makes_no_sense_is_refused_in_a_sentence(text, said, tmp_path):
    path = tmp_path / "policy.toml"
    path.write_text(text)
    with pytest.raises(DataError) as caught:
        load_policy(path)
    assert said in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_policy_that_is_not_there():
    with pytest.raises(DataError, match="does not exist"):
        load_policy("nowhere.toml")
