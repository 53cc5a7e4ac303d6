# Sourced by the other scripts: `prepare` makes .venv with what setup.cfg asks for, once, and puts it
# first on the PATH. Its argument is the extras to install, such as "[dev]".

cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1

find_python() {
    local candidate
    for candidate in "${PYTHON:-}" python3 python3.14 python3.13 python3.12 python3.11; do
        if [ -n "$candidate" ] && command -v "$candidate" >/dev/null &&
            "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
    echo "xmesh needs Python 3.11 or newer; install it, or name it: PYTHON=/path/to/python $0" >&2
    exit 1
}

prepare() {
    local extras="${1:-}" stamp=".venv/installed${1:-}"
    if [ ! -e "$stamp" ] || [ setup.cfg -nt "$stamp" ]; then
        local python
        python=$(find_python) || exit 1
        echo "setting up .venv (once)" >&2
        "$python" -m venv .venv || exit 1
        .venv/bin/python -m pip install --quiet --disable-pip-version-check -e ".$extras" || exit 1
        touch "$stamp"
    fi
    PATH="$PWD/.venv/bin:$PATH"
}
