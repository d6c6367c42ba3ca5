#!/usr/bin/env bash
# man_test.sh PAGE [PROGRAM]: the page is well-formed, and names every command and option that the program's --help names.
set -euo pipefail
page=$1 program=${2:-}

warnings=$(groff -man -Tutf8 -ww -z "$page" 2>&1)
if [[ -n $warnings ]]; then
    printf '%s\n' "$warnings"
    exit 1
fi
text=$(groff -man -Tascii -P-cbou -rLL=100n "$page")
[[ $text == *NAME*SYNOPSIS*DESCRIPTION*'EXIT STATUS'* ]] || { echo "a section is missing"; exit 1; }
if [[ -n $program ]]; then
    commands=$("$program" --help | sed -n '/^Commands:/,/^$/s/^  \([a-z]*\)  .*/\1/p')
    [[ -n $commands ]] || { echo "'$program --help' lists no commands"; exit 1; }
    for command in $commands; do
        [[ $text == *"dualvm $command"* ]] || { echo "the page says nothing of 'dualvm $command'"; exit 1; }
        options=$("$program" "$command" --help | sed -n 's/^  \(-[-a-zA-Z]*\).*/\1/p')
        [[ -n $options ]] || { echo "'$program $command --help' lists no options"; exit 1; }
        for option in $options; do
            grep -q -- "$option\b" <<<"$text" || { echo "the page says nothing of $command's $option"; exit 1; }
        done
    done
fi
