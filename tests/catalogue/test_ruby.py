import pytest

from customhouse.catalogue import ruby
from customhouse.catalogue.language import Unreadable
from customhouse.catalogue.packages import catalogue
from tests.catalogue.images import image

WRITTEN = b"""# -*- encoding: utf-8 -*-
# stub: rack 2.2.3 ruby lib

Gem::Specification.new do |s|
  s.name = "rack".freeze
  s.version = "2.2.3"

  s.authors = ["Leah Neukirchen".freeze]
  s.licenses = ["MIT".freeze, "Ruby".freeze]
end
"""


@pytest.mark.parametrize(
    ("path", "counts"),
    [
        ("usr/local/lib/ruby/gems/3.2.0/specifications/rack-2.2.3.gemspec", True),
        ("usr/local/lib/ruby/gems/3.2.0/specifications/default/json-2.6.3.gemspec", True),
        ("srv/bundle/ruby/3.2.0/bundler/gems/rails-0123456789ab/rails.gemspec", True),
        ("srv/bundle/ruby/3.2.0/bundler/gems/rails-0123456789ab/activerecord/activerecord.gemspec", False),
        ("usr/local/lib/ruby/gems/3.2.0/gems/rack-2.2.3/rack.gemspec", False),
        ("srv/app.gemspec", False),
    ],
)
def test_only_the_specification_of_an_installed_gem_is_evidence(path: str, counts: bool) -> None:
    assert ruby.is_evidence(path) is counts


def test_what_rubygems_wrote_is_read_with_its_licences() -> None:
    [found] = catalogue(image({"g/specifications/rack-2.2.3.gemspec": WRITTEN})).packages
    assert (found.ecosystem, found.purl, found.licenses) == ("RubyGems", "pkg:gem/rack@2.2.3", ("MIT", "Ruby"))
    [default] = catalogue(image({"g/specifications/default/rack-2.2.3.gemspec": WRITTEN})).packages
    assert default.properties == {"default": "yes"}


def test_a_specification_that_is_a_program_is_not_run_and_named_by_its_file() -> None:
    program = b"""Gem::Specification.new do |s|
      s.name = `touch /tmp/owned`
      s.version = File.read("VERSION").strip
      s.licenses = [ENV["L"], "BSD-2-Clause"]
      system("rm -rf /")
    end"""
    fact = ruby.parse_gemspec("g/specifications/nokogiri-1.15.4-x86_64-linux.gemspec", program)
    assert fact == {
        "type": "gem",
        "name": "nokogiri",
        "version": "1.15.4",
        "licenses": ["L", "BSD-2-Clause"],
        "properties": {"platform": "x86_64-linux"},
    }


def test_texts_with_code_in_them_are_no_names() -> None:
    said = b's.name = "#{evil}"\ns.version = "1" + x\n'
    assert ruby.parse_gemspec("g/specifications/good-2.0.gemspec", said)["name"] == "good"
    assert ruby.parse_gemspec("g/specifications/good-2.0.gemspec", said)["version"] == "2.0"


def test_a_gem_from_git_tells_its_version_or_is_a_problem() -> None:
    path = "b/bundler/gems/rails-0123456789ab/rails.gemspec"
    [found] = catalogue(image({path: b"s.name = \"rails\"\ns.version = '7.0.1'\n"})).packages
    assert found.purl == "pkg:gem/rails@7.0.1"
    assert catalogue(image({path: b"s.version = Rails::VERSION"})).problems[0].path == path


@pytest.mark.parametrize("raw", [b"", b"\xff" * 100, b"s.name = " + b'"' * 100_000, b"\n" * 1_000_000])
def test_a_specification_without_any_name_is_unreadable(raw: bytes) -> None:
    with pytest.raises(Unreadable):
        ruby.parse_gemspec("g/specifications/x.gemspec", raw)
