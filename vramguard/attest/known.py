"""What Python and the makers of environments put there themselves, with where each row was read."""

from __future__ import annotations

from typing import Final

# Magic numbers of bytecode, one for all releases of a minor version (CPython, Include/internal/pycore_magic_number.h,
# before 3.14 Lib/importlib/_bootstrap_external.py). 3.8 to 3.13: printed by 3.8.18, 3.9.18, 3.10.13, 3.11.7, 3.12.1
# and 3.13.0; 3.14: xdis 6.3.0, magics.py, the last before 3.15's, as 3.14.0rc3 has it. Read 2026-11.
MAGIC: Final = {
    "3.8": 3413,
    "3.9": 3425,
    "3.10": 3439,
    "3.11": 3495,
    "3.12": 3531,
    "3.13": 3571,
    "3.14": 3627,
}

# Files without a RECORD that belong to an environment all the same: name, sha256, whose. Each was written by the
# release named, or stands in its wheel (virtualenv/create/via_global_ref/_virtualenv.py). Read 2026-11.
_PATCH: Final = "_virtualenv.py"
FILES: Final = {
    ("_virtualenv.pth", "69ac3d8f27e679c81b94ab30b3b56e9cd138219b1ba94a1fa3606d5a76a1433d"): "virtualenv, uv",
    (_PATCH, "684b8c07932ba4a84ac2e5ae9afe49ef04e92bac3d8d4191d455cf09d093e5fc"): "virtualenv 20.0.35 to 20.13.0",
    (_PATCH, "0aeb86546345c1d0fada097536e35525714d5cdbcc2d8eb3f9912a955044fcff"): "virtualenv 20.24.0",
    (_PATCH, "0f20351ea7e90039c46d3fabdef991f28b1e3ff33eb13ee6f0d5cd21ea0e8b14"): "virtualenv 20.26.6 to 20.31.2",
    (_PATCH, "bec6155ff7bfc88f8e79e481f27fd7ee0a3b40eeca9bfeb41f4c4b997b2f8100"): "virtualenv 20.36.1",
    (_PATCH, "6cf30c56faf2a55228914dbbd17f8088ed371ebb08f5e7fa6fd931f913fcaf1d"): "uv 0.4.30 to 0.10.0",
    # CPython, Lib/site-packages/README.txt: the same in 3.6.15 to 3.13.0
    ("README.txt", "cba8fece8f62c36306ba27a128f124a257710e41fc619301ee97be93586917cb"): "CPython",
}
# Scripts that virtualenv records without a hash, below their first line: those of pip and of wheel, by release.
SCRIPTS: Final = {
    "801ef0c8702f26522dd98910f9b66032db4ec55f4fb63c5d6395d37dba2a8428": "virtualenv 20.13.0 to 20.36.1",
    "17148e0ab12432fcd051d37610cedd4ec4654ef1055e0f9e7c410d83a47c77f7": "virtualenv 20.13.0 to 20.26.6",
    "564a0938dc27672bb755e949942fbdf5eb13aa30f1fbec405dce8658f3de6029": "virtualenv 21.15.11",
}
_EMPTY: Final = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

# What installers write into a .dist-info beside the wheel's own files: pip 26.3, uv 0.13.9, and the signatures that
# the specification of recorded projects leaves out of RECORD. A digest leaves out MARKS: they tell who installed, from
# where and when.
MARKS: Final = frozenset(
    {
        "INSTALLER",
        "REQUESTED",
        "RECORD",
        "direct_url.json",
        "uv_cache.json",
        "uv_build.json",
        "RECORD.jws",
        "RECORD.p7s",
    }
)

CUSTOMIZE: Final = ("sitecustomize", "usercustomize")  # what CPython's site.py imports at every start


def maker(name: str, sha256: str) -> str | None:
    """Whose file this is, None where it is nobody's; virtualenv (20.0.35 to 21.15.11) marks what it seeded, emptily."""
    if name.endswith(".virtualenv") and sha256 == _EMPTY:
        return "virtualenv"
    return FILES.get((name, sha256))
