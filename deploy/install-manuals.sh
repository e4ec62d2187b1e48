#!/bin/sh
# Installs the manual pages and the completions of bash, zsh and fish:
#
#   install-manuals.sh [PREFIX]      /usr/local if not said; DESTDIR goes before it
set -eu

here=$(cd "$(dirname "$0")" && pwd)
share=${DESTDIR:-}${1:-/usr/local}/share

for section in 1 8; do
    install -d "$share/man/man$section"
    install -m644 "$here/man/man$section"/* "$share/man/man$section"
done

bash=$share/bash-completion/completions fish=$share/fish/vendor_completions.d
install -d "$bash" "$fish" "$share/zsh/site-functions"
install -m644 "$here/completions/nsqx.bash" "$bash/nsqx"
install -m644 "$here/completions/nsqx.fish" "$fish"
install -m644 "$here/completions/_nsqx" "$share/zsh/site-functions"

# bash and fish look for a file by the name of the program.
for program in nsqd nsqlookupd nsqadmin nsq_tail nsq_to_file nsq_to_http nsq_to_nsq nsq_stat to_nsq; do
    ln -sf nsqx "$bash/$program"
    ln -sf nsqx.fish "$fish/$program.fish"
done
