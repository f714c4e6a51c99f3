"""Statement after statement: what each does to the variables, and the commands that it starts."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import TYPE_CHECKING

from vramguard.facts import Word
from vramguard.shell.conditions import decide, is_test, matches, of_arguments
from vramguard.shell.expansion import Expander
from vramguard.shell.parts import Command, behind, declared, divided, heredoc, only_speaks, parts, shift, span, target
from vramguard.shell.prefixes import assignment, unwrapped
from vramguard.shell.values import MAX_FIELDS, ExhaustedError, Piece, State, Variable, bounded, plain, word
from vramguard.source.shell import parsed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from tree_sitter import Node

    from vramguard.shell.conditions import Verdict
    from vramguard.source import Location

MAX_DEPTH = 40  # of statements in statements
MAX_STEPS = 20_000  # statements that are read, those of functions and loops again each time
_MAX_ROUNDS = 16  # of loops over words that are known, nested ones multiplied
_ARGUMENTS = "@"
_DECLARING = {"export", "declare", "local", "readonly", "typeset"}
_BUILTINS = {"shift", "set", "read", "getopts", "mapfile", "readarray", *_DECLARING}

Branch = dict[str, Variable | None]


class Run:
    """One reading of a script."""

    def __init__(self, script: Word, variables: Mapping[str, Word]) -> None:
        self.commands: list[Command] = []
        self.heredocs: list[Word] = []
        self._script = parsed(script.text)
        self._word = script
        self._state = State(variables)
        self._expander = Expander(self._script, script, self._state, self._substituted)
        self._functions: dict[str, Node | None] = {}  # None for one that only prints
        self._called: set[str] = set()
        self._open: list[str] = []
        self._locals: dict[str, set[str]] = {}
        self._outer = frozenset(variables)
        self._parts: dict[int, tuple[list[Node], list[Node]]] = {}  # of commands, by the number of the node
        self._rounds = 1
        self._depth = 0
        self._steps = 0
        self._exports: Mapping[str, Word] | None = None
        self._statements: dict[str, Callable[[Node], None]] = {
            "command": self._command,
            "variable_assignment": self._assign,
            "variable_assignments": self._children,
            "declaration_command": self._declare,
            "unset_command": self._unset,
            "function_definition": self._define,
            "if_statement": self._if,
            "case_statement": self._case,
            "for_statement": self._for,
            "c_style_for_statement": self._loop,
            "while_statement": self._loop,
            "list": self._list,
            "pipeline": self._apart,
            "subshell": self._apart,
            "redirected_statement": self._redirected,
        }
        with suppress(ExhaustedError):  # what was read until there stands
            self._read()

    def _read(self) -> None:
        if self._script.root is not None:
            self._children(self._script.root)
            for name in [name for name in self._functions if name not in self._called]:
                self._call(name, None)

    # Statements

    def _do(self, node: Node) -> None:
        """One statement; what is none itself may hold some."""
        self._steps += 1
        if self._steps > MAX_STEPS or self._depth > MAX_DEPTH or node.type == "comment":
            return
        self._depth += 1
        self._statements.get(node.type, self._children)(node)
        self._depth -= 1

    def _children(self, node: Node) -> None:
        for child in node.named_children:
            self._do(child)

    def _branch(self, nodes: Iterable[Node]) -> Branch:
        """What statements set, for the caller to keep or drop."""
        self._state.enter()
        for node in nodes:
            self._do(node)
        return self._state.leave()

    def _place(self, node: Node) -> Callable[[], Location]:
        return lambda: self._at(node)

    def _apart(self, node: Node) -> None:
        """A subshell, or a pipeline: its variables are its own."""
        self._branch(node.named_children)

    def _substituted(self, node: Node) -> None:
        if self._depth <= MAX_DEPTH:
            self._depth += 1
            self._apart(node)
            self._depth -= 1

    def _at(self, node: Node) -> Location:
        return self._expander.at(node.start_byte, node.end_byte)

    def _list(self, node: Node) -> None:
        """`a && b || c`, which nests to the left: what follows a test is conditional."""
        parts: list[tuple[str, Node]] = []
        while node.type == "list" and len(node.children) >= 3:  # noqa: PLR2004
            parts.append((node.children[1].type, node.children[-1]))
            node = node.children[0]
        self._do(node)
        test = node
        for operator, part in reversed(parts):
            asked = is_test(test, self._expander)
            verdict = decide(test, self._expander) if asked else None
            branch = self._branch([part])
            if verdict is not None and operator == "||":
                verdict = verdict._replace(value=None if verdict.value is None else not verdict.value, default=None)
            if verdict is None and operator == "&&":
                self._state.adopt(branch)
            else:
                self._settle(verdict, branch, node)
            test = part if operator == "&&" and not asked else test

    def _settle(self, verdict: Verdict | None, branch: Branch, node: Node) -> None:
        """Keep what a conditional statement has set, by what is known of its condition."""
        if verdict and verdict.value is True:
            self._state.adopt(branch)
        elif verdict is None or (verdict.value is None and not verdict.of_arguments):
            self._state.merge([branch, {}], self._place(node))
        if verdict and verdict.default in branch:
            self._state.set(verdict.default, branch[verdict.default])

    def _if(self, node: Node) -> None:
        arms: list[tuple[Verdict | None, Branch]] = []
        for part in [node, *(child for child in node.named_children if child.type in {"elif_clause", "else_clause"})]:
            condition, body = parts(part)
            for child in condition:
                self._do(child)
            verdict = decide(condition[-1], self._expander) if condition else None
            arms.append((verdict, self._branch(body)))
        self._choose(arms, node, otherwise=arms[-1][0] is None)

    def _choose(self, arms: list[tuple[Verdict | None, Branch]], node: Node, *, otherwise: bool) -> None:
        """Keep the arm that is taken; of those that may be, what they agree on. A verdict of None is `else`."""
        open_arms: list[Branch] = []
        asked = False
        for verdict, branch in arms:
            if verdict and verdict.value is False:
                continue
            open_arms.append(branch)
            asked = asked or (verdict is not None and verdict.of_arguments)
            if verdict is None or verdict.value is True:
                otherwise = True
                break
        if otherwise or not asked:
            self._state.merge(open_arms if otherwise else [*open_arms, {}], self._place(node))
        for verdict, branch in arms:
            if verdict and verdict.default in branch and verdict.default:
                self._state.set(verdict.default, branch[verdict.default])

    def _case(self, node: Node) -> None:
        subject = node.child_by_field_name("value")
        text = plain(self._expander.text(subject))
        arms: list[Branch] = []
        taken: Branch | None = None
        every = False
        for item in (child for child in node.named_children if child.type == "case_item"):
            patterns = item.children_by_field_name("value")
            last = max((pattern.end_byte for pattern in patterns), default=0)
            body = [child for child in item.named_children if child.start_byte >= last]
            branch = self._branch(body)
            arms.append(branch)
            every = every or any(self._script.of(pattern) == "*" for pattern in patterns)
            if text is not None and taken is None and any(self._takes(pattern, text) for pattern in patterns):
                taken = branch
        if taken is not None:
            self._state.adopt(taken)
        elif text is None and not of_arguments(subject, self._expander):  # nothing is given: no arm holds a default
            self._state.merge(arms if every else [*arms, {}], self._place(node))

    def _takes(self, pattern: Node, text: str) -> bool:
        wanted = self._expander.plain(pattern)
        return wanted is not None and matches(text, wanted, glob=pattern.type not in {"string", "raw_string"})

    def _for(self, node: Node) -> None:
        name = self._script.text(*span(node.child_by_field_name("variable")))
        listed = [child for child in node.named_children if child.type not in {"variable_name", "do_group"}]
        values = list(self._expander.fields(listed))
        body = [child for child in node.named_children if child.type in {"do_group", "compound_statement"}]
        known = bool(values) and all(plain(value) is not None for value in values)
        if known and self._rounds * len(values) <= _MAX_ROUNDS:
            self._rounds *= len(values)
            for value in values:
                self._state.set(name, Variable((bounded(value, self._place(node)),)))
                self._state.adopt(self._branch(body))
            self._rounds //= len(values)
            return
        given = all(piece.given for value in values for piece in value if piece.text)
        self._state.set(name, Variable(((Piece(f"${name}", self._at(node), known=False, given=given),),)))
        self._state.merge([self._branch(body), {}], self._place(node))

    def _loop(self, node: Node) -> None:
        """A loop whose rounds nobody counts. What it makes of a function's own arguments is not known."""
        arguments = self._state.get(_ARGUMENTS)
        if arguments and re.search(rb"\bshift\b", self._script.bytes[node.start_byte : node.end_byte]):
            unknown = Piece("$@", self._at(node), known=False)
            self._state.set(_ARGUMENTS, Variable(tuple((unknown,) for _ in range(9)), array=True))
        counted = node.type == "c_style_for_statement"
        for child in node.named_children if counted else ():
            name = declared(child, self._script)
            if name and child.type == "variable_assignment":
                self._state.set(name, Variable(((Piece(f"${name}", self._at(child), known=False),),)))
        branch = self._branch(node.named_children[-1:] if counted else node.named_children)
        self._state.merge([branch, {}], self._place(node))

    def _define(self, node: Node) -> None:
        if (name := node.child_by_field_name("name")) and (body := node.child_by_field_name("body")):
            self._functions[self._script.text(*span(name))] = None if only_speaks(body, self._script) else body

    def _call(self, name: str, arguments: Sequence[Sequence[Piece]] | None) -> None:
        """Read a function's body, with the arguments of the call; without, as if they were still to be given."""
        self._called.add(name)
        body = self._functions[name]
        if body is None or name in self._open or len(self._open) > MAX_DEPTH // 4:
            return
        self._open.append(name)
        given = None if arguments is None else Variable(tuple(tuple(field) for field in arguments), array=True)
        self._state.enter()
        self._state.set(_ARGUMENTS, given)
        self._do(body)
        branch = self._state.leave()
        own = self._locals.pop(name, set()) | {_ARGUMENTS}
        self._open.pop()
        self._state.adopt({key: value for key, value in branch.items() if key not in own})

    # Variables

    def _assign(self, node: Node) -> None:
        target, value = node.child_by_field_name("name"), node.child_by_field_name("value")
        if target is None:
            return
        adds = any(child.type == "+=" for child in node.children)
        if target.type == "subscript":
            name = self._script.text(*span(target.named_children[0]))
            self._state.set(name, Variable(((Piece(f"${{{name}[@]}}", self._at(node), known=False),),), array=True))
        else:
            self._set(self._script.text(*span(target)), self._value(value), adds=adds, node=node)

    def _value(self, node: Node | None) -> Variable:
        if node is None or node.type != "array":
            return Variable((self._expander.text(node),))
        texts = (bounded(field, self._place(node)) for field in self._expander.fields(node.named_children))
        return Variable(tuple(texts), array=True)

    def _set(self, name: str, value: Variable, *, adds: bool, node: Node) -> None:
        old = self._state.get(name) if adds else None
        if old and (old.array or value.array):
            value = Variable((*old.texts, *value.texts)[:MAX_FIELDS], array=True)
        elif old:
            value = Variable((bounded((*old.texts[0], *value.texts[0]), self._place(node)),))
        elif adds and not value.array:  # what it adds to is not known
            start = Piece(f"${name}", self._at(node), known=False, given=True)
            value = Variable((bounded((start, *value.texts[0]), self._place(node)),))
        self._state.set(name, value)
        if name in self._outer:
            self._state.exported[name] = None
        self._exports = None

    def _declare(self, node: Node) -> None:
        keyword = node.children[0].type
        options = [self._script.text(*span(child)) for child in node.named_children if child.type == "word"]
        exports = keyword == "export" or any(option.startswith("-") and "x" in option for option in options)
        for child in node.named_children:
            if child.type == "variable_assignment":
                self._assign(child)
            name = declared(child, self._script)
            if name and exports:
                self._state.exported[name] = None
                self._exports = None
            if name and self._open and keyword in {"local", "declare", "typeset"}:
                self._locals.setdefault(self._open[-1], set()).add(name)

    def _unset(self, node: Node) -> None:
        for child in node.named_children:
            self._state.set(self._script.text(*span(child)), None)
        self._exports = None

    # Commands

    def _command(self, node: Node) -> None:
        known = self._parts.get(node.id)
        around, arguments = known or self._parts.setdefault(node.id, divided(node))
        env: dict[str, Word] = {}
        into: Word | None = None
        for child in around:
            if child.type == "variable_assignment":
                self._prefixed(child, env)
            else:
                into = target(child, self._expander) or into
        found = list(self._expander.fields(arguments))
        if found and not self._builtin(plain(found[0]), found, node):
            self._emit(tuple(map(word, found)), env, node, into)

    def _emit(self, words: tuple[Word, ...], env: dict[str, Word], node: Node, into: Word | None) -> None:
        rest, own = unwrapped(words)
        if not rest:
            return
        if rest[0].text in self._functions and rest[0].known:
            fields = [(Piece(item.text, item.at, item.known, item.first),) for item in rest[1:]]
            self._call(rest[0].text, fields)
            return
        exported = self._exported()
        seen = {**exported, **env, **own} if env or own else exported
        self.commands.append(Command(rest, seen, self._at(node), None, into))

    def _prefixed(self, node: Node, env: dict[str, Word]) -> None:
        name = declared(node, self._script)
        if name:
            text = self._expander.text(node.child_by_field_name("value"))
            env[name] = word(text) if text else Word("", self._at(node))

    def _exported(self) -> Mapping[str, Word]:
        if self._exports is None:
            self._expander.spend(len(self._state.exported))
            found = {name: self._state.get(name) for name in self._state.exported}
            self._exports = {name: word(item.texts[0]) for name, item in found.items() if item and any(item.texts[:1])}
        return self._exports

    def _builtin(self, name: str | None, found: list[Sequence[Piece]], node: Node) -> bool:
        """Do what changes variables, and say whether that is all that the command does."""
        if name not in _BUILTINS:
            return False
        texts = [plain(field) for field in found]
        if name == "shift":
            self._shift(texts)
        elif name == "set" and "--" in texts:
            rest = found[texts.index("--") + 1 :]
            self._state.set(_ARGUMENTS, Variable(tuple(map(tuple, rest)), array=True))
        elif name in {"read", "getopts", "mapfile", "readarray"}:
            for text in texts[1:]:
                if text and text.isidentifier():
                    piece = Piece(f"${text}", self._at(node), known=False, given=name in {"read", "getopts"})
                    self._state.set(text, Variable(((piece,),)))
        elif name in _DECLARING:  # behind `builtin` or `A=b`, where the grammar takes it for a command
            for text, field in zip(texts[1:], found[1:], strict=True):
                named = assignment(text or "")
                if named:
                    self._state.set(named[0], Variable(((Piece(named[1], field[0].at),) if named[1] else (),)))
        else:
            return False
        return True

    def _shift(self, texts: list[str | None]) -> None:
        if arguments := self._state.get(_ARGUMENTS):
            self._state.set(_ARGUMENTS, Variable(arguments.texts[shift(texts) :], array=True))

    # Redirections

    def _redirected(self, node: Node) -> None:
        stdin: Word | None = None
        into: Word | None = None
        piped: list[Node] = []
        before = len(self.commands)
        body = node.child_by_field_name("body")
        if body is not None:
            self._do(body)
        middle = len(self.commands)
        for child in node.named_children if body is None else node.named_children[1:]:
            if child.type == "heredoc_redirect":
                stdin = heredoc(child, self._expander)
                self.heredocs += [stdin] if stdin else []
                piped += [part for part in child.named_children if not part.type.startswith("heredoc")]
            elif child.type == "herestring_redirect":
                text = self._expander.text(child.named_children[-1]) if child.named_children else ()
                stdin = word(text) if text else None
            into = target(child, self._expander) or into
        into = next(filter(None, (target(part, self._expander) for part in piped)), into)
        if middle > before:
            last = self.commands[middle - 1]
            words = (*last.words, *behind(node, self._expander)) if body and body.type == "command" else last.words
            self.commands[middle - 1] = last._replace(words=words, stdin=stdin or last.stdin, into=into or last.into)
        for part in piped:
            self._do(part)
        if stdin and len(self.commands) > middle:  # `cat <<EOF | bash`
            self.commands[middle] = self.commands[middle]._replace(stdin=stdin)
