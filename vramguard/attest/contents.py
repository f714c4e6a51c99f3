"""Every file against the RECORD that names it, and every file that none names."""

from __future__ import annotations

import os
import posixpath
from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

from vramguard.attest.difference import Difference, Findings, some
from vramguard.attest.digests import is_mark
from vramguard.attest.files import Entry, parents
from vramguard.attest.known import CUSTOMIZE, MARKS, SCRIPTS, maker
from vramguard.attest.record import STRONG, Row, encoded
from vramguard.units import plural

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from vramguard.attest.distributions import Distribution
    from vramguard.attest.files import Files, Hashed


class Claim(NamedTuple):
    """A distribution's word for a file."""

    by: Distribution
    row: Row


class Contents:
    """The files of an environment, hashed, beside the claims on them."""

    def __init__(self, files: Files, installed: Sequence[Distribution], findings: Findings) -> None:
        self.files = files
        self.installed = installed
        self._findings = findings
        self.claims: dict[str, list[Claim]] = defaultdict(list)
        for distribution in installed:
            self._claim(distribution)
        wanted = dict(files.entries)
        for path in self.claims:
            found = files.find(path)
            if isinstance(found, Entry):
                wanted[path] = found
        asked = {path: frozenset(claim.row.algorithm for claim in claims) for path, claims in self.claims.items()}
        beside = {path: (found & STRONG) - {"sha256"} for path, found in asked.items()}
        self.hashes, self.failed = files.hashed(wanted, beside)

    def _claim(self, by: Distribution) -> None:
        """Take in one RECORD; a path that leads out of the environment is said and left alone."""
        if by.record is None:
            if by.form != "egg-link":
                self._findings.add(Difference("no-record", f"it is an {_article(by.form)}", by.shown, by.folder))
            return
        if by.record.flaws:
            what, data = some(list(by.record.flaws)), {"flaws": list(by.record.flaws)}
            self._findings.add(Difference("broken-record", what, by.shown, f"{by.folder}/RECORD", data))
        outside = []
        for row in by.record.rows:
            path = self._resolved(by.site, row.path)
            if path is None:
                outside.append(row.path)
            else:
                self.claims[path].append(Claim(by, row))
        if outside:
            what, data = f"{some([f'`{path[:80]}`' for path in outside])}", {"paths": outside}
            self._findings.add(Difference("record-outside", what, by.shown, f"{by.folder}/RECORD", data))

    def _resolved(self, site: str, written: str) -> str | None:
        """A path of RECORD from the environment's root; None where it leads out.

        `pip install --target` moves scripts and data beside the packages, and RECORD still names them where they were
        staged, two folders further up (pip 26.3, commands/install.py, `_handle_target_dir`).
        """
        environment = self.files.environment
        written = written.replace("\\", "/") if environment.windows else written
        root = environment.prefix.replace(os.sep, "/").rstrip("/") + "/"
        if posixpath.isabs(written):
            written = posixpath.normpath(written)
            return written.removeprefix(root) if written.startswith(root) else None
        path = posixpath.normpath(posixpath.join(site, written))
        if not site and written.startswith("../../"):
            path = posixpath.normpath(written.removeprefix("../../"))
        return None if path in ("..", ".") or path.startswith(("../", "/")) else path

    def verified(self, path: str) -> bool:
        """Whether some RECORD has the hash of this file as it is."""
        return path in self.hashes and any(
            claim.row.algorithm in STRONG and self._fits(claim.row, self.hashes[path])
            for claim in self.claims.get(path, ())
        )

    @staticmethod
    def _fits(row: Row, found: Hashed) -> bool:
        actual = found.sha256 if row.algorithm == "sha256" else found.others.get(row.algorithm, "")
        return row.digest == encoded(actual)

    def compare(self) -> None:
        """Report all that is not as recorded."""
        for path, claims in self.claims.items():
            self._compare(path, claims)
        for path, reason in self.failed.items():
            self._findings.add(Difference("unreadable", reason, self.owner(path), path))
        self._astray()
        self._extra()

    def owner(self, path: str) -> str | None:
        """The distribution that names a file."""
        claims = self.claims.get(path)
        return claims[0].by.shown if claims else None

    def _compare(self, path: str, claims: list[Claim]) -> None:
        found = self.hashes.get(path)
        if found is None:
            compiled = path.endswith(
                (".pyc", "/__pycache__")
            )  # made and removed at will; virtualenv records the folders
            self._absent(path, [claim for claim in claims if claim.row.digest or not compiled])
            return
        bare = self._needs_no_hash(path, found)
        hashed = [claim for claim in claims if claim.row.digest]
        if path.endswith(".pyc") and posixpath.basename(posixpath.dirname(path)) == "__pycache__":
            return  # an installer compiles over what a wheel brought along: held against its source, in `bytecode`
        for claim in claims:
            row, shown = claim.row, claim.by.shown
            if not row.digest and not bare:
                self._findings.add(Difference("unhashed", "RECORD has no hash of it", shown, path))
            elif row.digest and row.algorithm not in STRONG:
                self._findings.add(Difference("weak-hash", f"RECORD has {row.algorithm} of it", shown, path))
        if len({claim.row.content for claim in hashed}) > 1 and not all(
            self._fits(claim.row, found) for claim in hashed
        ):
            self._clobbered(path, hashed, found)
        strong = [claim for claim in hashed if claim.row.algorithm in STRONG]
        if strong and not any(self._fits(claim.row, found) for claim in strong):
            self._altered(path, strong[0], found)
        elif any(self._wrong_size(claim.row, path) for claim in strong if self._fits(claim.row, found)):
            self._findings.add(Difference("altered", "its size is not that of RECORD", claims[0].by.shown, path))

    def _needs_no_hash(self, path: str, found: Hashed) -> bool:
        """Whether a row without a hash says enough: of bytecode, of marks, and of what virtualenv is known to write."""
        name = posixpath.basename(path)
        if is_mark(path, self.files.environment.sites) or path.endswith(".pyc") or maker(name, found.sha256):
            return True
        return found.canonical in SCRIPTS and not self.files.is_within_site(path)

    def _clobbered(self, path: str, claims: list[Claim], found: Hashed) -> None:
        names = sorted({claim.by.shown for claim in claims})
        there = next((claim.by.shown for claim in claims if self._fits(claim.row, found)), "none of them")
        what = f"recorded by {', '.join(names)}; what is there is that of {there}"
        self._findings.add(Difference("clobbered", what, names[0], path, {"distributions": names}))

    def _altered(self, path: str, claim: Claim, found: Hashed) -> None:
        recorded, size = claim.row.size, self._size(path)
        what = f"its {claim.row.algorithm} is not that of RECORD"
        if recorded is not None and recorded != size:
            what += f": {size:,} bytes, {recorded:,} were recorded"
        data = {"sha256": found.sha256, "recorded": f"{claim.row.algorithm}={claim.row.digest}"}
        self._findings.add(Difference("altered", what, claim.by.shown, path, data))

    def _wrong_size(self, row: Row, path: str) -> bool:
        return row.size is not None and row.size != self._size(path)

    def _size(self, path: str) -> int:
        found = self.files.find(path)
        return found.size if isinstance(found, Entry) else -1

    def _absent(self, path: str, claims: list[Claim]) -> None:
        """A recorded file that was not hashed: not there, or not to be read. What is astray is said elsewhere."""
        if not claims or path in self.failed or path in self.files.astray or self.files.is_below_astray(path):
            return
        reason = self.files.find(path)
        shown = claims[0].by.shown
        if reason is None:
            self._findings.add(Difference("missing", "it is not there", shown, path))
        elif isinstance(reason, str):
            self._findings.add(Difference("link" if "link" in reason else "unreadable", reason, shown, path))

    def _astray(self) -> None:
        """Links and what could not be listed, one line for all of a package with the same reason."""
        groups: dict[tuple[str, str], list[str]] = defaultdict(list)
        for path, reason in self.files.astray.items():
            site = next((site for site in self.files.environment.sites if path.startswith(f"{site}/")), "")
            groups[path.removeprefix(site).lstrip("/").partition("/")[0], reason].append(path)
        for (_, reason), paths in groups.items():
            kind = "link" if "link" in reason else "unreadable"
            more = f"; so with {len(paths) - 1:,} more of its files" if len(paths) > 1 else ""
            shown = self.owner(paths[0])
            self._findings.add(Difference(kind, reason + more, shown, paths[0], {"paths": sorted(paths)}))

    def _extra(self) -> None:
        """Files that nobody names, one line for a folder that holds nothing else."""
        held = {above for path in self.claims for above in parents(path)} | {""}
        groups: dict[str, list[str]] = defaultdict(list)
        for path in self._unnamed():
            site = next(site for site in self.files.environment.sites if not site or path.startswith(f"{site}/"))
            below = (above for above in parents(path) if len(above) > len(site))
            groups[next((above for above in below if above not in held), path)].append(path)
        for top, paths in groups.items():
            what = (
                "no RECORD names it" if paths == [top] else f"a folder with {plural(len(paths), 'file')} of no RECORD"
            )
            self._findings.add(Difference("extra", what, None, top, {"paths": sorted(paths)}))

    def _unnamed(self) -> Iterator[str]:
        """Files that nothing accounts for. Bytecode and what Python runs at its start have kinds of their own."""
        loose = {path for item in self.installed for path in item.unrecorded}
        folders = {item.folder for item in self.installed}
        for path in self.files.entries:
            folder, name = posixpath.split(path)
            hashed = self.hashes.get(path)
            if path in self.claims or hashed is None or self._has_own_kind(folder, name):
                continue
            if (folder in folders and name in MARKS) or path in loose or any(up in loose for up in parents(path)):
                continue
            known = maker(name, hashed.sha256) if folder in self.files.environment.sites else None
            if known:
                what = f"{known} put it there"
                self._findings.add(Difference("known-file", what, None, path), note=True)
            else:
                yield path

    def _has_own_kind(self, folder: str, name: str) -> bool:
        """Whether a file is judged as bytecode or as what runs at Python's start."""
        top = folder in self.files.environment.sites
        return name.endswith(".pyc") or (top and (name.endswith(".pth") or name.partition(".")[0] in CUSTOMIZE))


def _article(form: str) -> str:
    return {"egg": ".egg", "egg-info": ".egg-info, as installers before wheels left it"}.get(
        form, f"{form} without RECORD"
    )
