#!/usr/bin/env bash
# Stops the cluster of cluster/slurm_up.sh by the pids it wrote down, nothing else. PURGE=1 removes
# its folder. The packages stay.
set -uo pipefail
L=${SLURM_LAB:-/tmp/slurmlab}; export SLURM_CONF=$L/etc/slurm.conf
[ -s "$SLURM_CONF" ] && { timeout 5 scancel -u root >/dev/null 2>&1; sleep .2; }
stop(){ local p; [ -s "$1" ] || return 0; p=$(cat "$1"); kill -0 "$p" 2>/dev/null || { rm -f "$1"; return 0; }
  kill -TERM "$p"; for _ in $(seq 100); do kill -0 "$p" 2>/dev/null || break; sleep .05; done
  kill -0 "$p" 2>/dev/null && kill -KILL "$p"; rm -f "$1"; }
for f in "$L"/run/slurmd.*.pid "$L/run/slurmctld.pid" "$L/run/slurmdbd.pid" "$L/mysql/mysql.pid" "$L/run/munged.pid"; do stop "$f"; done
h=$(grep -v '# slurm_up$' /etc/hosts) && printf '%s\n' "$h" >/etc/hosts   # in place: /etc/hosts may be a mount
[ "$(readlink /etc/slurm/slurm.conf 2>/dev/null)" = "$SLURM_CONF" ] && rm -f /etc/slurm/slurm.conf
[ "${PURGE:-0}" = 1 ] && rm -rf "$L"
echo "slurm_down: stopped" >&2
