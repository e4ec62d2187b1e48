#!/bin/sh
# Checks the types that the dashboard's modules have by their JSDoc. It needs Node, which nothing else
# here does: without it, or where TypeScript cannot be fetched, it says so and is content.

cd "$(dirname "$0")" || exit 1

skip() {
    echo "The types of the dashboard's modules are not checked: $1."
    exit 0
}

command -v npm >/dev/null || skip "there is no Node here"
if ! [ node_modules/.package-lock.json -nt package-lock.json ]; then
    npm ci --ignore-scripts --no-audit --no-fund --silent || skip "TypeScript cannot be fetched"
fi
exec node_modules/.bin/tsc -p .
