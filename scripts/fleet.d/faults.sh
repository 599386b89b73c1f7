# shellcheck shell=bash disable=SC2016,SC2154 # expanded inside the node; $nodes, $parts and $mark are of scripts/fleet
# Faults of the test fleet, a part of scripts/fleet. Each is a pair: fault_KIND does it, heal_KIND undoes it. A fault is
# recorded before it is done and healing twice does no harm, so a call killed half way is mended by `fleet heal`.

fault_help() {
	cat <<-'HELP'
		  containerd-stopped      SIGSTOP to containerd
		  dockerd-frozen          SIGSTOP to dockerd
		  dockerd-down            docker.service and docker.socket stopped
		  no-banner               port 22 accepts and never says a word (SIGSTOP to the listening sshd)
		  sshd-max-sessions [N]   MaxSessions N, 1 if not given
		  no-forwarding           no TCP and no stream-local forwarding
		  netem RULE...           delay TIME [JITTER], loss PERCENT%, rate RATE; each way, on both networks
		  link-cut                both links down; packets vanish
		  behind-bastion          only the link to the host is down
		  disk-full               not a byte left on the root disk
		  memory-pressure [kubepods]   a container grows past its limit, or that of all pods, again and again; the kernel
		                          kills 12 of its processes, or 3
		  zombies [container]     a process, or a container's first one, with 12 children that it does not collect
		  no-tool NAME            the tool is gone
		  slow-tool NAME SECONDS  the tool sleeps first
		  hang-tool NAME [stubborn]   the tool never ends (stubborn: ignores SIGTERM, SIGHUP, SIGINT)
		  endless-tool NAME       the tool prints for ever
		  shell NAME              login shell of root: fish, tcsh, zsh, busybox
		  bashrc-noise            root's .bashrc prints on both streams
		  dockershim              the kubelet is one of 1.21 that uses dockerd, by its answers and its command line (restarts it)
		  kubelet-down            kubelet.service stopped: its ports refuse
		  kubelet-frozen          SIGSTOP to the kubelet
		  kubelet-KIND [ARG] [/PATH-PREFIX]   at once, without a restart; for every path if none is given:
		    slow SECONDS, hung    the answer begins late, or never
		    metrics-hang [SECONDS]   /metrics alone takes 120 s, as in a CRI hang
		    cut BYTES, short [BYTES], endless   closed within the body, less body than promised, body without end
		    401, 403, 404         404: of /debug/pprof, if no path is given
		    cut-off [SECONDS]     API server gone: 401 for every token, after 30 s
		    set SET, variant NAME   other recordings (tests/fixtures/kubelet): kubelet-1.36.2, kubelet-1.36.2-pleg-hang,
		                          kubelet-1.21.1-dockershim; debugging-handlers-off, profiling-and-flags-off, log-query-enabled;
		                          the set's journal.log goes into the node's journal, as if it had just been written
		    self-signed, http2    its own serving certificate; HTTP/2 offered
	HELP
}

cmd_fault() {
	local node=$1 kind=${2-}
	[ -n "$kind" ] || die "fault: which kind? (fleet help)"
	declare -F "heal_${kind//-/_}" >/dev/null || die "no such fault: $kind (fleet help)"
	shift 2
	if declare -F "check_${kind//-/_}" >/dev/null; then "check_${kind//-/_}" "$node" "$@"; fi
	case $kind in netem | shell | sshd-max-sessions) # one setting: the new one takes the old one's place
		if [ -e "$nodes/$node/faults" ]; then sed -i "/^$kind\b/d" "$nodes/$node/faults"; fi
		;;
	esac
	echo "$kind${*:+ $*}" >>"$nodes/$node/faults"
	"fault_${kind//-/_}" "$node" "$@"
}

cmd_heal() {
	local node=$1 faults line words
	faults=$nodes/$node/faults
	while line=$(tail -n 1 "$faults" 2>/dev/null) && [ -n "$line" ]; do # the last one first
		read -ra words <<<"$line"
		"heal_${words[0]//-/_}" "$node" "${words[@]:1}"
		sed -i '$d' "$faults"
	done
	rm -f "$faults"
	wait_ready "$node" 60
}

signal_unit() { in_node "$1" systemctl kill --kill-whom=main --signal="$3" "$2"; } # NODE UNIT SIGNAL

fault_containerd_stopped() { signal_unit "$1" containerd STOP; }
heal_containerd_stopped() { signal_unit "$1" containerd CONT; }

fault_dockerd_frozen() { signal_unit "$1" docker STOP; }
heal_dockerd_frozen() { signal_unit "$1" docker CONT; }

fault_dockerd_down() { in_node "$1" systemctl stop docker.socket docker.service; }
heal_dockerd_down() {
	in_node "$1" systemctl start docker.socket docker.service
	in_node "$1" systemctl restart fleet-containers
}

# The kernel goes on accepting for a stopped listener: what a node out of memory or processes looks like from outside.
# Sessions that are open have processes of their own and go on.
fault_no_banner() { signal_unit "$1" ssh STOP; }
heal_no_banner() { signal_unit "$1" ssh CONT; }

# sshd_option NODE NAME [LINE...]: a drop-in that goes before the fleet's own; without lines it is taken away.
sshd_option() {
	local file=/etc/ssh/sshd_config.d/10-fault-$2.conf
	if [ $# -gt 2 ]; then
		printf '%s\n' "${@:3}" | in_node "$1" sh -c "cat >$file"
	else
		in_node "$1" rm -f "$file"
	fi
	in_node "$1" systemctl reload ssh
	# On SIGHUP sshd starts itself anew: for a moment nobody listens, and a caller would be refused.
	in_node "$1" sh -c 'i=0; while [ $i -lt 50 ]; do ss -Hltn "sport = 22" | grep -q . && break; i=$((i+1)); sleep 0.1; done'
}

check_sshd_max_sessions() { [[ ${2-1} =~ ^[0-9]+$ ]] || die "sshd-max-sessions: expected a number, got '$2'"; }
fault_sshd_max_sessions() { sshd_option "$1" max-sessions "MaxSessions ${2-1}"; }
heal_sshd_max_sessions() { sshd_option "$1" max-sessions; }

fault_no_forwarding() { sshd_option "$1" no-forwarding 'AllowTcpForwarding no' 'AllowStreamLocalForwarding no'; }
heal_no_forwarding() { sshd_option "$1" no-forwarding; }

# netem puts a relay between the node's link and the bridge: link (a) <- relay -> ar, a veth whose other end is in the bridge.
stop_relay() {
	local pid
	if pid=$(live "$nodes/$1/relay.pid"); then kill -KILL "$pid"; fi
	rm -f "$nodes/$1/relay.pid"
}
check_netem() { python3 "$parts/netem.py" - "${@:2}" || exit 1; }
fault_netem() {
	local node=$1 end number=0 near far inner pairs=()
	stop_relay "$node"
	for end in a b; do
		near=$(link "$node" $end) far=$(link "$node" ${end}r) inner=$(link "$node" ${end}i)
		if ! link_exists "$far"; then
			claim "$far"
			ip link add "$far" type veth peer name "$inner"
			ip link set "$far" alias "$mark"
		fi
		# The host has no part in what passes: without this it would answer for its own address here.
		for number in "$near" "$inner"; do
			echo 1 >"/proc/sys/net/ipv4/conf/$number/arp_ignore"
			echo 1 >"/proc/sys/net/ipv6/conf/$number/disable_ipv6" 2>/dev/null || true
		done
		ethtool -K "$far" tx off >/dev/null
		ip link set "$near" nomaster
		ip link set "$inner" up
		ip link set "$far" master "plegbr$([ $end = a ] && echo 0 || echo 1)" up
		pairs+=("$near:$inner")
	done
	(
		write_pid "$nodes/$node/relay.pid"
		exec setsid python3 "$parts/netem.py" "$(IFS=,; echo "${pairs[*]}")" "${@:2}"
	) </dev/null >"$nodes/$node/relay.log" 2>&1 8>&- 9>&- &
	sleep 0.3
	live "$nodes/$node/relay.pid" >/dev/null || die "netem: the relay has ended: see $nodes/$node/relay.log"
}
heal_netem() {
	stop_relay "$1"
	drop_link "$(link "$1" ar)"
	drop_link "$(link "$1" br)"
	ip link set "$(link "$1" a)" master plegbr0
	ip link set "$(link "$1" b)" master plegbr1
}

# A fixed neighbour entry: packets go out and vanish, instead of the kernel's own "no route to host".
cut_link_to_host() {
	ip neigh replace "$(address "$1")" lladdr "$(mac "$1" 0)" dev plegbr0 nud permanent
	ip link set "$(link "$1" a)" down
}
mend_link_to_host() {
	ip link set "$(link "$1" a)" up
	ip neigh del "$(address "$1")" dev plegbr0 2>/dev/null || true
}
fault_link_cut() {
	cut_link_to_host "$1"
	ip link set "$(link "$1" b)" down
}
heal_link_cut() {
	mend_link_to_host "$1"
	ip link set "$(link "$1" b)" up
}
fault_behind_bastion() { cut_link_to_host "$1"; }
heal_behind_bastion() { mend_link_to_host "$1"; }

fault_disk_full() {
	in_node "$1" sh -c 'for size in 1M 4k 1; do dd if=/dev/zero bs=$size oflag=append conv=notrunc of=/var/fleet-disk-full 2>/dev/null; done; :'
}
heal_disk_full() { in_node "$1" rm -f /var/fleet-disk-full; }

# Not too fast: of more than 10 kills within 5 s the kernel leaves out whose limit it was. Not too many: each takes 6 kB of
# the kernel's log, which is the machine's and may hold 128 kB.
check_memory_pressure() {
	case ${2-} in '' | kubepods) ;; *) die "memory-pressure: expected 'kubepods' or nothing, got '$2'" ;; esac
}
fault_memory_pressure() {
	local limit=(--memory 32m) kills=12
	if [ "${2-}" = kubepods ]; then
		limit=(--cgroup-parent /kubepods) kills=3
		# The limit of all pods, in control groups of version 1 or 2.
		in_node "$1" sh -c 'cd /sys/fs/cgroup && if [ -d memory ]; then mkdir -p memory/kubepods && echo 32M >memory/kubepods/memory.limit_in_bytes
			else echo +memory >cgroup.subtree_control && mkdir -p kubepods && echo 32M >kubepods/memory.max; fi'
	fi
	in_node "$1" docker run -d --network none --name fleet-memory-pressure "${limit[@]}" fleet/busybox:1 /bin/sh -c \
		'i=0; while [ $i -lt "$0" ]; do busybox tail /dev/zero; sleep 0.6; i=$((i+1)); done; exec sleep 2147483646' $kills >/dev/null
	await "$1" 'the kills' 'ps -eo args | grep -qx "sleep 2147483646"'
}
heal_memory_pressure() {
	drop_container "$1" fleet-memory-pressure
	in_node "$1" sh -c 'find /sys/fs/cgroup -maxdepth 2 -name kubepods -exec rmdir {} +
		date -d "+1 second" "+%F %T" >/run/fleet-dmesg-since' # see /usr/local/bin/dmesg of the node
}

check_zombies() {
	case ${2-} in '' | container) ;; *) die "zombies: expected 'container' or nothing, got '$2'" ;; esac
}
fault_zombies() {
	local parent='i=0; while [ $i -lt 12 ]; do sleep 0.5 & i=$((i+1)); done; exec sleep 2147483647'
	case ${2-} in
	'') in_node "$1" systemd-run --quiet --unit=fleet-zombies /bin/sh -c "${parent//\$/\$\$}" ;;
	container) in_node "$1" docker run -d --network none --name fleet-zombies fleet/busybox:1 /bin/sh -c "$parent" >/dev/null ;;
	esac
	await "$1" 'the zombies' '[ "$(ps -eo stat,comm | grep -c "^Z.*sleep")" -ge 12 ]'
}
heal_zombies() {
	in_node "$1" sh -c 'systemctl stop fleet-zombies 2>/dev/null; systemctl reset-failed fleet-zombies 2>/dev/null; :'
	drop_container "$1" fleet-zombies
}

drop_container() { in_node "$1" sh -c 'docker rm -f "$1" >/dev/null 2>&1 || ! docker container inspect "$1" >/dev/null 2>&1' - "$2"; }

# await NODE WHAT CONDITION: at most 20 s.
await() {
	in_node "$1" sh -c 'i=0; until eval "$1"; do [ $i -lt 100 ] || exit 1; i=$((i+1)); sleep 0.2; done' - "$3" ||
		die "$1: waited for $2 in vain"
}

tool() { in_node "$1" /usr/local/lib/fleet/tool "${@:2}"; } # NODE hide|slow|hang|endless|restore NAME [ARG]
check_tool() { # NODE NAME
	[ -n "${2-}" ] || die "which tool?"
	in_node "$1" /usr/local/lib/fleet/tool find "$2" || exit 1
}
check_no_tool() { check_tool "$@"; }
fault_no_tool() { tool "$1" hide "$2"; }
heal_no_tool() { tool "$1" restore "$2"; }
check_slow_tool() {
	[[ ${3-} =~ ^[0-9.]+$ ]] || die "slow-tool: expected a tool and seconds"
	check_tool "$@"
}
fault_slow_tool() { tool "$1" slow "$2" "$3"; }
heal_slow_tool() { tool "$1" restore "$2"; }
check_hang_tool() {
	case ${3-} in '' | stubborn) ;; *) die "hang-tool: expected 'stubborn' or nothing, got '$3'" ;; esac
	check_tool "$@"
}
fault_hang_tool() { tool "$1" hang "${@:2}"; }
heal_hang_tool() { tool "$1" restore "$2"; }
check_endless_tool() { check_tool "$@"; }
fault_endless_tool() { tool "$1" endless "$2"; }
heal_endless_tool() { tool "$1" restore "$2"; }

shell_path() {
	case ${1-} in
	fish | tcsh | zsh) echo "/usr/bin/$1" ;;
	busybox) echo /opt/busybox/sh ;;
	*) die "shell: expected fish, tcsh, zsh or busybox, got '${1-}'" ;;
	esac
}
check_shell() { shell_path "${2-}" >/dev/null; }
fault_shell() { in_node "$1" usermod --shell "$(shell_path "$2")" root; }
heal_shell() { in_node "$1" usermod --shell /bin/bash root; }

fault_bashrc_noise() { in_node "$1" sh -c 'cd /root && { [ -e .bashrc.fleet ] || mv .bashrc .bashrc.fleet; } && cp /usr/local/lib/fleet/noise.bashrc .bashrc'; }
heal_bashrc_noise() { in_node "$1" sh -c 'cd /root && if [ -e .bashrc.fleet ]; then mv .bashrc.fleet .bashrc; fi'; }

fault_kubelet_down() { in_node "$1" systemctl stop kubelet; }
heal_kubelet_down() { in_node "$1" systemctl start kubelet; }
fault_kubelet_frozen() { signal_unit "$1" kubelet STOP; }
heal_kubelet_frozen() { signal_unit "$1" kubelet CONT; }

# The other faults of the kubelet are lines of a file that it reads for each request.
kubelet_line() { # KIND [ARG...]
	case $1 in
	metrics-hang) echo "slow ${2-120} /metrics" ;;
	404) echo "404 ${2-/debug/pprof}" ;;
	*) echo "$*" ;;
	esac
}
check_kubelet_line() { # NODE KIND [ARG...]: asks the program itself
	local line
	line=$(kubelet_line "${@:2}")
	"$(kubelet_programs)/kubelet-pki" "$kubelet" fault "$line" || die "kubelet-$2: not a fault: '$line' (fleet help)"
}
add_kubelet_line() { # NODE KIND [ARG...]
	in_node "$1" sh -c 'printf "%s\n" "$1" >>/run/kubelet-stand-in/faults' - "$(kubelet_line "${@:2}")"
}
drop_kubelet_line() {
	in_node "$1" sh -c 'cd /run/kubelet-stand-in && [ -e faults ] || exit 0
		grep -vxF -e "$1" faults >faults.new; mv faults.new faults' - "$(kubelet_line "${@:2}")"
}
for kind in slow hung metrics-hang cut short endless 401 403 404 cut-off set variant self-signed http2; do
	eval "check_kubelet_${kind//-/_}() { check_kubelet_line \"\$1\" $kind \"\${@:2}\"; }
		fault_kubelet_${kind//-/_}() { add_kubelet_line \"\$1\" $kind \"\${@:2}\"; }
		heal_kubelet_${kind//-/_}() { drop_kubelet_line \"\$1\" $kind \"\${@:2}\"; }"
done
unset kind

fault_dockershim() {
	in_node "$1" sh -c 'mkdir -p /etc/systemd/system/kubelet.service.d && cat >/etc/systemd/system/kubelet.service.d/dockershim.conf' <<-'UNIT'
		[Service]
		ExecStart=
		ExecStart=/usr/local/bin/kubelet --config=/var/lib/kubelet/config.yaml --kubeconfig=/etc/kubernetes/kubelet.conf --container-runtime=docker --v=2
	UNIT
	add_kubelet_line "$1" set kubelet-1.21.1-dockershim
	restart_kubelet "$1"
}
heal_dockershim() {
	in_node "$1" rm -rf /etc/systemd/system/kubelet.service.d
	drop_kubelet_line "$1" set kubelet-1.21.1-dockershim
	restart_kubelet "$1"
}
restart_kubelet() {
	in_node "$1" systemctl daemon-reload
	in_node "$1" systemctl restart kubelet
	await "$1" 'the kubelet' 'curl -sf -m 5 -o /dev/null http://127.0.0.1:10248/healthz'
}

# A file of the journal that the node's journald knows nothing of: journalctl shows its lines among the others, and all of
# them go with it.
journal_writer=/lib/systemd/systemd-journal-remote
fault_kubelet_set() {
	local lines=$repo/tests/fixtures/kubelet/$2/journal.log file=$nodes/$1/kubelet.journal
	add_kubelet_line "$1" set "$2"
	if [ ! -e "$lines" ] || [ "$2" = kubelet-1.36.2 ]; then return 0; fi # the latter's are there since the kubelet's start
	rm -f "$file"
	python3 "$parts/journal.py" "$lines" "$1" "$(in_node "$1" cat /proc/sys/kernel/random/boot_id)" \
		"$(in_node "$1" systemctl show -p MainPID --value kubelet)" | "$journal_writer" -o "$file" - 2>"$file.log" ||
		die "$1: cannot write its journal: see $file.log"
	in_node "$1" sh -c 'umask 027; cat >/var/log/journal/$(cat /etc/machine-id)/kubelet-recorded.journal' <"$file"
	rm -f "$file" "$file.log"
}
heal_kubelet_set() {
	drop_kubelet_line "$1" set "$2"
	in_node "$1" sh -c 'rm -f /var/log/journal/$(cat /etc/machine-id)/kubelet-recorded.journal'
}
