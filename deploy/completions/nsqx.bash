# Completion for bash. Generated from the code: python -m deploy.generate
# shellcheck shell=bash disable=SC2207 # no name of an option has a blank in it

# The options of a program: --switch, --option:file, :folder, :name (of a topic, channel or node),
# :one,of,these or : for anything.
_nsqx_options() {
    case $1 in
        nsqd) echo "
            --advertise:
            --auth-http-address:
            --auth-http-request-method:get,post
            --broadcast-address:
            --broadcast-http-port:
            --broadcast-tcp-port:
            --busy-poll:
            --cluster:
            --config:file
            --data-path:folder
            --deflate
            --discover
            --drain-timeout:
            --durability:os,fsync
            --e2e-processing-latency-percentile:
            --e2e-processing-latency-window-time:
            --enable-experiment:
            --http-address:
            --http-auth
            --http-client-connect-timeout:
            --http-client-request-timeout:
            --https-address:
            --log-format:nsq,console,json
            --log-level:debug,info,warn,error,fatal
            --log-prefix:
            --lookupd-tcp-address:
            --lookupd-tls
            --lookupd-tls-cert:file
            --lookupd-tls-insecure-skip-verify
            --lookupd-tls-key:file
            --lookupd-tls-root-ca-file:file
            --max-body-size:
            --max-bytes-per-file:file
            --max-channel-consumers:
            --max-channels:
            --max-connections:
            --max-connections-per-address:
            --max-deflate-level:
            --max-heartbeat-interval:
            --max-msg-size:
            --max-msg-timeout:
            --max-output-buffer-size:
            --max-output-buffer-timeout:
            --max-rdy-count:
            --max-req-timeout:
            --max-topics:
            --mem-queue-size:
            --memory-limit:
            --min-output-buffer-timeout:
            --msg-timeout:
            --node-id:
            --output-buffer-timeout:
            --own-http-address:
            --own-tcp-address:
            --queue-scan-selection-count:
            --queue-scan-worker-pool-max:
            --retain-bytes:
            --retain-time:
            --reuse-port
            --snappy
            --statsd-address:
            --statsd-exclude-ephemeral
            --statsd-interval:
            --statsd-mem-stats
            --statsd-prefix:
            --statsd-udp-packet-size:
            --sync-every:
            --sync-timeout:
            --tcp-address:
            --tls-cert:file
            --tls-client-auth-policy:require,require-verify
            --tls-key:file
            --tls-min-version:tls1.0,tls1.1,tls1.2,tls1.3
            --tls-required
            --tls-root-ca-file:file
            --topology-region:
            --topology-zone:
            --verbose
            --version
            --worker-id
            -h
            --help
        " ;;
        nsqlookupd) echo "
            --advertise
            --broadcast-address:
            --cluster:
            --config:file
            --http-address:
            --https-address:
            --inactive-producer-timeout:
            --log-format:nsq,console,json
            --log-level:debug,info,warn,error,fatal
            --log-prefix:
            --max-connections:
            --max-connections-per-address:
            --max-entries:
            --max-identify-size:
            --max-line-size:
            --max-registrations:
            --max-registrations-per-address:
            --max-watches:
            --tcp-address:
            --tls-cert:file
            --tls-client-auth-policy:
            --tls-key:file
            --tls-min-version:
            --tls-root-ca-file:file
            --tombstone-lifetime:
            --verbose
            --version
            -h
            --help
        " ;;
        nsqadmin) echo "
            --acl-http-header:
            --acl-trusted-cidr:
            --admin-user:
            --allow-config-from-cidr:
            --allowed-host:
            --allowed-origin:
            --auth-basic-file:file
            --auth-token-file:file
            --base-path:
            --cluster:
            --config:file
            --dev-static-dir:folder
            --discover
            --forget-nodes-after:
            --graphite-url:
            --history-path:file
            --http-address:
            --http-client-connect-timeout:
            --http-client-request-timeout:
            --http-client-tls-cert:file
            --http-client-tls-insecure-skip-verify
            --http-client-tls-key:file
            --http-client-tls-root-ca-file:file
            --log-format:nsq,console,json
            --log-level:debug,info,warn,error,fatal
            --log-prefix:
            --lookupd-http-address:
            --message-role:viewer,operator,admin
            --notification-http-endpoint:
            --nsqd-auth-secret-file:file
            --nsqd-http-address:
            --nsqd-tls
            --oldest-age-warning:
            --operator-user:
            --poll-interval:
            --proxy-graphite
            --read-only
            --statsd-counter-format:
            --statsd-gauge-format:
            --statsd-interval:
            --statsd-prefix:
            --verbose
            --version
            -h
            --help
        " ;;
        nsqx) echo "
            --version
            -h
            --help
        " ;;
        "nsqx up") echo "
            --nodes:
            --data-path:folder
            --host:
            --any-ports
            --reuse-port
            -q
            --quiet
            -h
            --help
        " ;;
        "nsqx pub") echo "
            --nsqd:
            --lookupd:
            --discover
            --cluster:
            --tls
            --tls-ca-file:
            --tls-cert:
            --tls-key:
            --tls-insecure
            --auth-secret-file:file
            --json
            -q
            --quiet
            -h
            --help
        " ;;
        "nsqx tail") echo "
            --channel:name
            --lookupd:
            --nsqd:
            --discover
            --cluster:
            --tls
            --tls-ca-file:
            --tls-cert:
            --tls-key:
            --tls-insecure
            --auth-secret-file:file
            -n:
            --print-topic
            --json
            --max-in-flight:
            -h
            --help
        " ;;
        "nsqx worker") echo "
            -h
            --help
        " ;;
        "nsqx top") echo "
            --lookupd:
            --nsqd:
            --discover
            --cluster:
            --tls
            --tls-ca-file:
            --tls-cert:
            --tls-key:
            --tls-insecure
            --auth-secret-file:file
            --interval:
            -n:
            --json
            -h
            --help
        " ;;
        "nsqx peek") echo "
            --from:
            -n:
            --lookupd:
            --nsqd:
            --discover
            --cluster:
            --tls
            --tls-ca-file:
            --tls-cert:
            --tls-key:
            --tls-insecure
            --auth-secret-file:file
            --bodies
            --json
            -h
            --help
        " ;;
        "nsqx seek") echo "
            --lookupd:
            --nsqd:
            --discover
            --cluster:
            --tls
            --tls-ca-file:
            --tls-cert:
            --tls-key:
            --tls-insecure
            --auth-secret-file:file
            --create
            --json
            -h
            --help
        " ;;
        "nsqx drain") echo "
            --timeout:
            --no-wait
            --undo
            --json
            --tls
            --tls-ca-file:
            --tls-cert:
            --tls-key:
            --tls-insecure
            --auth-secret-file:file
            -h
            --help
        " ;;
        "nsqx roll") echo "
            --lookupd:
            --command:
            --drain:
            --timeout:
            --dry-run
            --json
            --tls
            --tls-ca-file:
            --tls-cert:
            --tls-key:
            --tls-insecure
            --auth-secret-file:file
            -h
            --help
        " ;;
        "nsqx bench") echo "
            --nsqd:
            --nsqd-http:
            --messages:
            --size:
            --max-in-flight:
            --json
            -h
            --help
        " ;;
        "nsqx doctor") echo "
            --lookupd:
            --nsqd:
            --discover
            --cluster:
            --tls
            --tls-ca-file:
            --tls-cert:
            --tls-key:
            --tls-insecure
            --auth-secret-file:file
            --timeout:
            --json
            -h
            --help
        " ;;
        nsq_tail) echo "
            --channel:name
            --consumer-opt:
            --lookupd-http-address:
            --max-in-flight:
            --nsqd-tcp-address:
            --print-topic
            --topic:name
            --version
            -h
            --help
        " ;;
        nsq_to_file) echo "
            --channel:name
            --consumer-opt:
            --datetime-format:
            --filename-format:
            --gzip
            --gzip-level:
            --host-identifier:
            --http-client-connect-timeout:
            --http-client-request-timeout:
            --log-level:debug,info,warn,error,fatal
            --log-prefix:
            --lookupd-http-address:
            --max-in-flight:
            --nsqd-tcp-address:
            --output-dir:folder
            --rotate-interval:
            --rotate-size:
            --skip-empty-files
            --sync-interval:
            --topic:name
            --topic-pattern:
            --topic-refresh:
            --version
            --work-dir:folder
            -h
            --help
        " ;;
        nsq_to_http) echo "
            --channel:name
            --consumer-opt:
            --content-type:
            --get:
            --header:
            --http-client-connect-timeout:
            --http-client-request-timeout:
            --lookupd-http-address:
            --max-in-flight:
            --mode:round-robin,hostpool,epsilon-greedy
            --nsqd-tcp-address:
            --post:
            --sample:
            --status-every:
            --topic:name
            --version
            -h
            --help
        " ;;
        nsq_to_nsq) echo "
            --channel:name
            --consumer-opt:
            --destination-nsqd-tcp-address:
            --destination-topic:name
            --lookupd-http-address:
            --max-in-flight:
            --mode:hostpool,epsilon-greedy
            --nsqd-tcp-address:
            --producer-opt:
            --require-json-field:
            --require-json-value:
            --status-every:
            --topic:name
            --version
            --whitelist-json-field:
            -h
            --help
        " ;;
        nsq_stat) echo "
            --channel:name
            --count:
            --http-client-connect-timeout:
            --http-client-request-timeout:
            --http-client-tls-cert:file
            --http-client-tls-insecure-skip-verify
            --http-client-tls-key:file
            --http-client-tls-root-ca-file:file
            --interval:
            --lookupd-http-address:
            --nsqd-http-address:
            --topic:name
            --version
            -h
            --help
        " ;;
        to_nsq) echo "
            --delimiter:
            --nsqd-tcp-address:
            --producer-opt:
            --rate:
            --topic:name
            -h
            --help
        " ;;
    esac
}

# The program behind a sub-command of nsqx.
_nsqx_program() {
    case $1 in
        nsqd) echo nsqd ;;
        lookupd) echo nsqlookupd ;;
        admin) echo nsqadmin ;;
        to-file) echo nsq_to_file ;;
        to-http) echo nsq_to_http ;;
        nsq-to-nsq) echo nsq_to_nsq ;;
        to-nsq) echo to_nsq ;;
        stat) echo nsq_stat ;;
        nsq-tail) echo nsq_tail ;;
        *) echo "nsqx $1" ;;
    esac
}

_nsqx_value() {
    case $1 in
        file)
            compopt -o filenames
            mapfile -t COMPREPLY < <(compgen -f -- "$2")
            ;;
        folder)
            compopt -o filenames
            mapfile -t COMPREPLY < <(compgen -d -- "$2")
            ;;
        name) _nsqx_ask ;;
        *) COMPREPLY=($(compgen -W "${1//,/ }" -- "$2")) ;;
    esac
}

# What the cluster has, by the line as it was typed: bash makes several words of host:port.
_nsqx_ask() {
    local words before nsqx=nsqx name
    read -ra words <<< "${COMP_LINE:0:COMP_POINT}"
    if [[ ${COMP_LINE:0:COMP_POINT} == *[[:space:]] ]]; then
        words+=("")
    fi
    if [[ ${words[0]} == */* ]]; then
        nsqx=${words[0]%/*}/nsqx
        nsqx=${nsqx/#"~/"/"$HOME/"}
    fi
    # What is before the last : or = is no part of the word that bash will replace.
    before=${words[-1]}
    if [[ ${COMP_WORDS[COMP_CWORD]} != [=:] ]]; then
        before=${before%"${COMP_WORDS[COMP_CWORD]}"}
    fi
    before=${before#-*=}
    while IFS= read -r name; do
        COMPREPLY+=("${name#"$before"}")
    done < <(command "$nsqx" complete "${words[@]}" 2> /dev/null)
}

# Options in the form that was begun: -da is -data-path where Go's rules hold.
_nsqx_names() {
    local option names=()
    for option in $(_nsqx_options "$1"); do
        option=${option%%:*}
        if [[ $1 != nsqx* && $2 == -[!-]* && $option == --* ]]; then
            option=${option#-}
        fi
        names+=("$option")
    done
    COMPREPLY=($(compgen -W "${names[*]}" -- "$2"))
}

_nsqx() {
    local program=${COMP_WORDS[0]##*/} current=${COMP_WORDS[COMP_CWORD]}
    local name=${COMP_WORDS[COMP_CWORD - 1]} option
    COMPREPLY=()
    if [[ $program == nsqx && $COMP_CWORD -eq 1 ]]; then
        COMPREPLY=($(compgen -W "up pub tail worker top peek seek drain roll bench doctor to-file to-http nsq-to-nsq to-nsq stat nsq-tail nsqd lookupd admin $(_nsqx_options nsqx)" -- "$current"))
        return
    fi
    if [[ $program == nsqx ]]; then
        program=$(_nsqx_program "${COMP_WORDS[1]}")
    fi
    # bash makes three words of --option=value.
    if [[ $current == "=" ]]; then
        current=""
    elif [[ $name == "=" ]]; then
        name=${COMP_WORDS[COMP_CWORD - 2]}
    fi
    if [[ $program != nsqx* && $name == -[!-]* ]]; then
        name=-$name
    fi
    for option in $(_nsqx_options "$program"); do
        if [[ $option == "$name:"* ]]; then
            _nsqx_value "${option#*:}" "$current"
            return
        fi
    done
    case $current in
        -*) _nsqx_names "$program" "$current" ;;
        *)
            [[ " nsqx pub  nsqx tail  nsqx top  nsqx peek  nsqx seek  nsqx drain  nsqx roll " == *" $program "* ]] && _nsqx_ask
            if [[ ${#COMPREPLY[@]} -eq 0 && " nsqx pub " == *" $program "* ]]; then
                _nsqx_value file "$current"
            fi
            ;;
    esac
}

complete -F _nsqx nsqd nsqlookupd nsqadmin nsqx nsq_tail nsq_to_file nsq_to_http nsq_to_nsq nsq_stat to_nsq
