"""The default gates: name → pattern, matched without regard to case on normalised text.

Normalised means that white space is one blank and that nothing invisible is left; each text is
also matched with quotes and backslashes taken out, as a shell would read it. Every repetition
is bounded, so that no text, however hostile, takes long. A pattern names a command or a file,
never a topic: "deployment checklist" or "environment variables" must pass.
"""

__all__ = ["DESTRUCTIVE", "SEED"]

_WORD_BEFORE = r"(?<![\w.-])"
_FLAGS = r"(?:-[-\w=]{1,64} ){0,6}"
_R = r"(?:-[a-z]{0,8}r[a-z]{0,8}|--recursive)"
_F = r"(?:-[a-z]{0,8}f[a-z]{0,8}|--force)"
_WORDS = r"(?:[^ ]{1,128} ){0,6}"
_RF = r"-(?:[a-z]{0,8}r[a-z]{0,8}f|[a-z]{0,8}f[a-z]{0,8}r)"
# Options of a command that come before its verb, each with one value at most.
_OPTIONS = r"(?: -[^ ]{1,128}(?: [^ -][^ ]{0,128})?){0,4}"
_ALL_RIGHTS = r"(?:0?777|(?:a|ugo)[+=]rwx)(?!\w)"
_DISK = r"/dev/(?:sd[a-z]|hd[a-z]|vd[a-z]|xvd[a-z]|nvme\d|mmcblk\d|r?disk\d|mapper/)"
_SHELL = r"(?:(?:ba|z|da|k|a|fi)?sh|python[\d.]{0,5}|perl|ruby|node)(?![\w-])"
_FETCH = _WORD_BEFORE + r"(?:curl|wget)"
_AS_COMMAND = r"(?:^|[;&|$#`(] ?|/sbin/|(?<!\w)(?:sudo|run|running|execute) )"

# Per field; "git push", "rm -rf" and ".env" stand below, where they count in every field.
SEED: dict[str, dict[str, str]] = {
    "intent": {
        "commit to main": r"(?<!\w)commit(?: \w{1,32}){0,3} to (?:main|master)(?![\w-])",
        "deploy": r"(?<!\w)deploy(?!\w)",
        "publish": r"(?<!\w)publish(?!\w)",
    },
    "commitment": {
        "secret": r"(?<![a-z0-9])secrets?(?![a-z0-9])",
        "production config": r"(?<!\w)prod(?:uction)?[ _-]?config(?:uration|s)?(?!\w)",
    },
}

DESTRUCTIVE: dict[str, str] = {
    "rm -rf": rf"{_WORD_BEFORE}rm {_WORDS}(?:{_RF}|{_R} {_WORDS}{_F}|{_F} {_WORDS}{_R})",
    "remove-item -recurse": r"(?<![\w-])remove-item (?:[^ ]{1,128} ){0,6}-recurse(?!\w)",
    ".env": (
        r"(?<![\w)\]])\.env(?!\w|\.(?:example|sample|template)(?!\w))"
        r"|(?<!\w)(?:prod|production|staging|local)\.env(?!\w)"
    ),
    "git push": rf"(?<![\w-])git{_OPTIONS} push(?![\w-])",
    "force push": (
        r"(?<!\w)force[- ]?push(?:e[sd]|ing)?(?!\w)"
        r"|(?<!\w)push (?:[^ ]{1,128} ){0,4}(?:-f(?!\w)|--force)"
    ),
    "drop table": (
        r"(?<!\w)(?:drop|truncate)(?: |/\*[^*]{0,64}\*/){1,4}(?:table|database|schema)(?!\w)"
    ),
    "mkfs": r"(?<![\w-])(?:mkfs|wipefs)(?![\w-])",
    "dd to a device": (
        r"(?<![\w-])dd (?:[^ ]{1,256} ){0,12}of=/dev/(?!null(?!\w)|stdout(?!\w)|stderr(?!\w))"
    ),
    "write to a disk": rf"> ?{_DISK}",
    "download into a shell": (
        rf"{_FETCH} [^|]{{1,512}}\| ?(?:sudo (?:-[^ ]{{1,32}} ){{0,4}})?"
        rf"(?:/[\w/]{{1,32}}/)?{_SHELL}"
        r"|(?<!\w)(?:(?:ba|z|da|k)?sh|eval|source)(?: -\w{1,8}){0,4} ?[$<]\( ?(?:curl|wget)(?!\w)"
    ),
    "chmod -R 777": (
        rf"(?<![\w-])chmod {_FLAGS}(?:{_R} {_FLAGS}{_ALL_RIGHTS}|{_ALL_RIGHTS} {_FLAGS}{_R})"
    ),
    "shutdown": (
        r"(?<![\w-])shutdown (?:-[a-z]{1,8}(?![\w-])|/[rs](?!\w))"
        rf"|{_AS_COMMAND}shutdown (?:now|\+?\d)"
        r"|(?<![\w-])systemctl(?: --?[\w-]{1,32}){0,4} (?:reboot|poweroff|halt|kexec)(?!\w)"
        rf"|(?<![\w-])sudo (?:reboot|poweroff|halt)(?!\w)|(?<![\w-])(?:sudo |tel)init [06](?!\w)"
        r"|(?<![\w-])(?:reboot|poweroff|halt) (?:-f|--force)(?!\w)"
    ),
    "terraform destroy": (
        r"(?<![\w-])(?:terraform|tofu|terragrunt|pulumi)(?: -[^ ]{1,128}| run-all| stack){0,4}"
        r" (?:destroy|apply (?:-[^ ]{1,128} ){0,4}--?destroy)(?![\w-])"
    ),
    "kubectl delete": (
        rf"(?<![\w-])(?:kubectl{_OPTIONS} (?:delete|drain)|helm{_OPTIONS} (?:delete|uninstall))"
        r"(?![\w-])"
    ),
    "delete a bucket or repository": (
        r"(?<![\w-])aws s3 (?:rb|rm (?:[^ ]{1,256} ){0,6}--recursive)(?![\w-])"
        r"|(?<![\w-])gh repo delete(?![\w-])"
    ),
    "fork bomb": r":\(\) ?\{ ?: ?\| ?: ?& ?\} ?; ?:",
}
