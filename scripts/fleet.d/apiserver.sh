# shellcheck shell=bash disable=SC2154 # $state, $nodes, $repo, $kubelet and $host_address are of scripts/fleet
# The fleet's API server, a part of scripts/fleet: one per fleet, on the operator's side, replaying what a real one answered.

apiserver=$state/apiserver

apiserver_help() {
	cat <<-'HELP'
		fleet apiserver up          start it, without faults; its port stays the same
		fleet apiserver down
		fleet apiserver status
		fleet apiserver fault KIND [ARG] [/PATH-PREFIX]   several add up: refuse (not running), hang (accepts and says nothing),
		                            slow SECONDS, hung, 401, 403, 429, 404, cut BYTES, short [BYTES], endless
		fleet apiserver heal        undo its faults
		fleet apiserver node NODE READY [KEY=VALUE,...]   True, False or Unknown, and labels beside those of the pool
		fleet apiserver kubeconfig [USER]   print it; USER: those of kubelet-token, certificate, exec; anonymous
	HELP
}

apiserver_users='node-diagnostics read-only metrics-only proxy-only no-rights certificate exec anonymous'

apiserver_port() { cat "$apiserver/port" 2>/dev/null || echo 0; }

# The rights at the API server of those who have rights at the kubelets.
write_apiserver_users() {
	local account=system:serviceaccount:kube-system user name rules
	local read='get:nodes,list:nodes,list:events,get:leases,get:nodes/proxy,get:/metrics,get:/debug/pprof,get:/debug/pprof/*'
	while IFS='|' read -r user name rules; do
		kubelet_token "$user" "$name" "$rules"
	done >"$apiserver/users.new" <<-USERS
		node-diagnostics|$account:node-diagnostics|$read,update:nodes/proxy
		read-only|$account:read-only|$read
		metrics-only|metrics-only|get:/metrics
		proxy-only|proxy-only|get:nodes/proxy
		no-rights|no-rights|
	USERS
	printf 'certificate\tnode-diagnostics\t%s\n' "$read,update:nodes/proxy" >>"$apiserver/users.new"
	mv "$apiserver/users.new" "$apiserver/users"
}

write_apiserver_nodes() {
	local node pool
	for node in $(running); do
		[ "$node" != "$bastion" ] || continue
		pool=$([ $(($(last_byte "$node") % 2)) = 1 ] && echo odd || echo even)
		printf '%s\t%s\tTrue\tpool=%s\n' "$node" "$(address "$node")" "$pool"
	done >"$apiserver/nodes.new"
	mv "$apiserver/nodes.new" "$apiserver/nodes"
}

# One file a user, with the contexts of all: they differ in the current one alone.
write_kubeconfigs() {
	local current user
	{ # an exec plug-in: prints the token of its file
		# shellcheck disable=SC2016 # expanded by that script
		printf '#!/bin/sh\ntoken=$(cat "%s")\n' "$kubelet/token-node-diagnostics"
		# shellcheck disable=SC2016
		printf 'printf '\''{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{"token":"%%s"}}'\'' "$token"\n'
	} >"$apiserver/exec-credential"
	chmod 755 "$apiserver/exec-credential"
	for current in $apiserver_users; do
		{
			cat <<-YAML
				apiVersion: v1
				kind: Config
				current-context: $current
				clusters:
				- name: fleet
				  cluster:
				    server: https://127.0.0.1:$(apiserver_port)
				    certificate-authority: $kubelet/ca.crt
				contexts:
			YAML
			for user in $apiserver_users; do
				printf -- '- name: %s\n  context:\n    cluster: fleet\n    user: %s\n' "$user" "$user"
			done
			echo 'users:'
			for user in $apiserver_users; do
				printf -- '- name: %s\n  user:' "$user"
				case $user in
				anonymous) printf ' {}\n' ;;
				certificate)
					printf '\n    client-certificate: %s\n    client-key: %s\n' "$kubelet/node-diagnostics.crt" "$kubelet/node-diagnostics.key"
					;;
				exec)
					printf '\n    exec:\n      apiVersion: client.authentication.k8s.io/v1\n      interactiveMode: Never\n'
					printf '      command: %s\n' "$apiserver/exec-credential"
					;;
				*) printf '\n    token: %s\n' "$(cat "$kubelet/token-$user")" ;;
				esac
			done
		} >"$apiserver/kubeconfig-$current.new"
		chmod 600 "$apiserver/kubeconfig-$current.new"
		mv "$apiserver/kubeconfig-$current.new" "$apiserver/kubeconfig-$current"
	done
}

start_apiserver() {
	if live "$apiserver/pid" >/dev/null; then return 0; fi
	local port end
	port=$(apiserver_port)
	: >"$apiserver/address"
	(
		write_pid "$apiserver/pid"
		exec setsid "$(kubelet_programs)/kube-apiserver" --bind-address=0.0.0.0 --secure-port="$port" \
			--tls-cert-file="$kubelet/kube-apiserver.crt" --tls-private-key-file="$kubelet/kube-apiserver.key" \
			--client-ca-file="$kubelet/ca.crt" --kubelet-certificate-authority="$kubelet/ca.crt" \
			--kubelet-client-certificate="$kubelet/node-diagnostics.crt" --kubelet-client-key="$kubelet/node-diagnostics.key" \
			--recordings="$repo/tests/fixtures/kube-apiserver" --nodes="$apiserver/nodes" --users="$apiserver/users" \
			--faults="$apiserver/faults" --request-log="$apiserver/requests"
	) </dev/null >"$apiserver/address" 2>"$apiserver/log" 8>&- 9>&- &
	end=$((SECONDS + 10))
	until [ "$port" != 0 ] && curl -s -m 2 -o /dev/null --cacert "$kubelet/ca.crt" "https://127.0.0.1:$port/version"; do
		if [ $SECONDS -ge $end ] || { [ -e "$apiserver/pid" ] && ! live "$apiserver/pid" >/dev/null; }; then
			die "apiserver: it does not answer: see $apiserver/log ($(tail -n 1 "$apiserver/log"))"
		fi
		[ "$port" != 0 ] || port=$(sed -n 's/.*:\([0-9]*\)$/\1/p' "$apiserver/address")
		port=${port:-0}
		sleep 0.1
	done
	echo "$port" >"$apiserver/port"
}

stop_apiserver() {
	local pid end=$((SECONDS + 5))
	if pid=$(live "$apiserver/pid"); then
		kill -TERM "$pid"
		while live "$apiserver/pid" >/dev/null; do
			[ $SECONDS -lt $end ] || kill -KILL "$pid" 2>/dev/null || true
			sleep 0.05
		done
	fi
	rm -f "$apiserver/pid"
}

lock_apiserver() {
	mkdir -p "$apiserver"
	exec 8>"$apiserver/lock"
	flock --wait 60 8 || die "another apiserver command has been under way for a minute"
}

apiserver_fault() {
	local line=$*
	[ -e "$apiserver/port" ] || die "apiserver fault: it is not up (fleet apiserver up)"
	case ${1-} in
	refuse)
		stop_apiserver
		return
		;;
	hang) line=silent ;;
	429 | 404 | 401 | 403 | slow | hung | cut | short | endless) ;;
	*) die "apiserver fault: no such fault: '$*' (fleet help)" ;;
	esac
	kubelet_pki fault "$line" || die "apiserver fault: not a fault: '$*' (fleet help)"
	echo "$line" >>"$apiserver/faults"
}

apiserver_node() { # NODE READY [LABELS]
	check_name "${1-}"
	[[ ${2-} =~ ^(True|False|Unknown)$ ]] || die "apiserver node: expected True, False or Unknown, got '${2-}'"
	local pool
	pool=$(awk -F'\t' -v node="$1" '$1 == node { n = split($4, l, ","); for (i = 1; i <= n; i++) if (l[i] ~ /^pool=/) print l[i] }' "$apiserver/nodes")
	{
		grep -v "^$1"$'\t' "$apiserver/nodes" || true
		printf '%s\t%s\t%s\t%s\n' "$1" "$(address "$1")" "$2" "${pool:-pool=none}${3:+,$3}"
	} | sort >"$apiserver/nodes.new"
	mv "$apiserver/nodes.new" "$apiserver/nodes"
}

cmd_apiserver() {
	local command=${1-}
	[ $# -eq 0 ] || shift
	case $command in
	up)
		lock_fleet shared
		[ -n "$(running)" ] || die "apiserver up: no node is up"
		lock_apiserver
		build_programs
		kubelet_pki serving kube-apiserver 127.0.0.1 localhost "$host_address" kubernetes kubernetes.default
		write_apiserver_users
		write_apiserver_nodes
		rm -f "$apiserver/faults"
		start_apiserver
		write_kubeconfigs
		say "apiserver up: https://127.0.0.1:$(apiserver_port)"
		;;
	down)
		lock_apiserver
		stop_apiserver
		rm -f "$apiserver"/{faults,port,address}
		;;
	status)
		if live "$apiserver/pid" >/dev/null; then
			echo "up https://127.0.0.1:$(apiserver_port) faults: $(paste -sd';' "$apiserver/faults" 2>/dev/null || echo -)"
		else
			echo down
			return 1
		fi
		;;
	fault)
		lock_apiserver
		apiserver_fault "$@"
		;;
	heal)
		lock_apiserver
		rm -f "$apiserver/faults"
		start_apiserver
		;;
	node)
		lock_apiserver
		apiserver_node "$@"
		;;
	kubeconfig) cat "$(kubeconfig_path "${1-node-diagnostics}")" ;;
	*) die "apiserver: expected up, down, status, fault, heal, node or kubeconfig, got '$command'" ;;
	esac
}

kubeconfig_path() {
	[ -s "$apiserver/kubeconfig-$1" ] || die "no kubeconfig of '$1' (fleet apiserver up; users: $apiserver_users)"
	echo "$apiserver/kubeconfig-$1"
}
