#!/usr/bin/env bash
# Brings up a real, throw-away SLURM cluster on one Debian or Ubuntu host, as root: make slurm-up
#   SLURM_LAB=/tmp/slurmlab   folder of its configuration, state and logs
#   SLURM_NODES=2             slurmd daemons, n1 n2 ...      SLURM_GPUS=2  fake GPUs a node
#   SLURM_CPUS=4 SLURM_MEM_MB=8000   of a node, whatever the host really has
#   SLURM_ACCT=0              1: slurmdbd and MariaDB, so that sacct answers
# A second call starts what has died and prints the same line. Undone by pid: cluster/slurm_down.sh
# Prints the line to eval, export SLURM_CONF=...; not needed where /etc/slurm/slurm.conf was free,
# since that then is a link to ours.
set -euo pipefail
L=${SLURM_LAB:-/tmp/slurmlab}; N=${SLURM_NODES:-2}; ACCT=${SLURM_ACCT:-0}; G=${SLURM_GPUS:-2}
CPUS=${SLURM_CPUS:-4}; MEM=${SLURM_MEM_MB:-8000}; H=$(hostname -s); T0=$(date +%s.%N)
BASE=${SLURM_BASE_PORT:-16817}          # ctld=BASE dbd=BASE+2 slurmd=BASE+10+i
# proctrack/cgroup signals only the task's own process, as real clusters do; linuxproc signals all its descendants too
PT=${SLURM_PROCTRACK:-}; if [ -z "$PT" ]; then PT=proctrack/linuxproc
  if [ "$(id -u)" = 0 ] && [ -d /sys/fs/cgroup/freezer ] && mkdir -p /sys/fs/cgroup/freezer/.slurm_up_probe 2>/dev/null; then
    rmdir /sys/fs/cgroup/freezer/.slurm_up_probe; PT=proctrack/cgroup; fi; fi
say(){ echo "slurm_up: $*" >&2; }
alive(){ [ -s "$1" ] && kill -0 "$(cat "$1")" 2>/dev/null; }
[ "$(id -u)" = 0 ] || { say "needs root: it installs packages, makes device nodes and starts daemons"; exit 1; }
export PATH=$PATH:/usr/sbin:/sbin
# ---- 1. packages ---------------------------------------------------------------------------
pk=(); command -v slurmctld >/dev/null && command -v slurmd >/dev/null || pk+=(slurm-wlm)
command -v munged >/dev/null || pk+=(munge)
if [ "$ACCT" = 1 ]; then command -v slurmdbd >/dev/null || pk+=(slurmdbd)
  command -v mariadbd >/dev/null || command -v mysqld >/dev/null || pk+=(mariadb-server); fi
if [ ${#pk[@]} -gt 0 ]; then
  say "installing ${pk[*]}"; export DEBIAN_FRONTEND=noninteractive
  apt-get install -y -qq --no-install-recommends "${pk[@]}" >/tmp/slurm_up.apt.log 2>&1 ||
  { apt-get update -qq && apt-get install -y -qq --no-install-recommends "${pk[@]}" >/tmp/slurm_up.apt.log 2>&1; }
fi
export SLURM_CONF=$L/etc/slurm.conf
# ---- 2. folders, key, conf -----------------------------------------------------------------
mkdir -p "$L"/{etc,run,log,state,spool,dev}; chmod 755 "$L" "$L"/*
[ -s "$L/etc/munge.key" ] || { head -c 1024 /dev/urandom >"$L/etc/munge.key"; chmod 400 "$L/etc/munge.key"; }
NL="n[1-$N]"; [ "$N" = 1 ] && NL=n1
for ((g=0; g<G; g++)); do [ -e "$L/dev/nvidia$g" ] || mknod "$L/dev/nvidia$g" c 195 $g; done
# without this a preempted job gets only SIGTERM; 23.02 renamed it
PREEMPT=SlurmctldParameters=preempt_send_user_signal
[ "$(slurmctld -V | grep -oE '[0-9]+' | head -1)" -lt 23 ] || PREEMPT=PreemptParameters=send_user_signal
configure(){ { cat <<C
ClusterName=${SLURM_CLUSTER:-lab}
SlurmctldHost=$H(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$L/run/munge.socket,cred_expire=${SLURM_CRED_EXPIRE:-5}
CredType=cred/munge
SlurmctldPort=$BASE
SlurmctldPidFile=$L/run/slurmctld.pid
SlurmdPidFile=$L/run/slurmd.%n.pid
SlurmctldLogFile=$L/log/slurmctld.log
SlurmdLogFile=$L/log/slurmd.%n.log
SlurmdSpoolDir=$L/spool/%n
StateSaveLocation=$L/state
ProctrackType=$PT
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SlurmdParameters=config_overrides
MpiDefault=none
SwitchType=switch/none
ReturnToService=2
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
$PREEMPT
JobRequeue=1
# a job that does not say how much memory it needs would get all of a node
DefMemPerCPU=500
SchedulerType=sched/backfill
SchedulerParameters=bf_interval=1,sched_interval=1,batch_sched_delay=0,sched_min_interval=100000
MinJobAge=3600
KillWait=30
InactiveLimit=0
SlurmctldTimeout=30
SlurmdTimeout=${SLURM_TIMEOUT_S:-15}
JobAcctGatherType=jobacct_gather/linux
C
  [ "$G" -gt 0 ] && echo "GresTypes=gpu"
  if [ "$ACCT" = 1 ]; then cat <<C
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort=$((BASE+2))
AccountingStoragePass=$L/run/munge.socket
C
  else echo "AccountingStorageType=accounting_storage/none"; fi
  for ((i=1;i<=N;i++)); do
    echo "NodeName=n$i NodeHostname=$H NodeAddr=127.0.0.1 Port=$((BASE+10+i)) CPUs=$CPUS Boards=1 SocketsPerBoard=1 CoresPerSocket=$CPUS ThreadsPerCore=1 RealMemory=$MEM$([ "$G" -gt 0 ] && echo " Gres=gpu:$G") State=UNKNOWN"
  done
  echo "PartitionName=debug Nodes=$NL Default=YES MaxTime=INFINITE State=UP PriorityTier=1 PreemptMode=REQUEUE GraceTime=${SLURM_GRACE_S:-15}"
  echo "PartitionName=high  Nodes=$NL MaxTime=INFINITE State=UP PriorityTier=10 PreemptMode=OFF"
} >"$SLURM_CONF.new"
mv "$SLURM_CONF.new" "$SLURM_CONF"
for ((g=0; g<G; g++)); do for ((i=1;i<=N;i++)); do echo "NodeName=n$i Name=gpu File=$L/dev/nvidia$g"; done; done >"$L/etc/gres.conf"
echo "CgroupPlugin=cgroup/v1
ConstrainCores=no
ConstrainRAMSpace=no" >"$L/etc/cgroup.conf"; }
if alive "$L/run/slurmctld.pid"; then N=$(grep -c ^NodeName= "$SLURM_CONF"); else configure; fi
mkdir -p /etc/slurm; [ -e /etc/slurm/slurm.conf ] || ln -sfn "$SLURM_CONF" /etc/slurm/slurm.conf
# node names must resolve: submitit puts SLURM_JOB_NODELIST's first name into MASTER_ADDR
for ((i=1;i<=N;i++)); do grep -qE "^127\.0\.0\.1[[:space:]]+n$i( |\$)" /etc/hosts || echo "127.0.0.1 n$i # slurm_up" >>/etc/hosts; done
# ---- 3. munged -----------------------------------------------------------------------------
if ! alive "$L/run/munged.pid"; then
  rm -f "$L"/run/munge.socket*
  munged --force --key-file="$L/etc/munge.key" --socket="$L/run/munge.socket" --pid-file="$L/run/munged.pid" \
         --log-file="$L/log/munged.log" --seed-file="$L/run/munged.seed" --num-threads=4
fi
# ---- 4. optional accounting ----------------------------------------------------------------
if [ "$ACCT" = 1 ]; then
  D=$L/mysql; mkdir -p "$D"; chown -R mysql:mysql "$D"; 
  [ -d "$D/data/mysql" ] || { mariadb-install-db --no-defaults --user=mysql --datadir="$D/data" --skip-test-db --auth-root-authentication-method=socket >"$L/log/mysql_install.log" 2>&1; }
  if ! alive "$D/mysql.pid"; then
    setsid mariadbd --no-defaults --user=mysql --datadir="$D/data" --socket="$D/s.sock" --pid-file="$D/mysql.pid" \
      --skip-networking --innodb-buffer-pool-size=32M --innodb-flush-log-at-trx-commit=0 --innodb-lock-wait-timeout=900 \
      >"$L/log/mysql.log" 2>&1 </dev/null &
    for _ in $(seq 200); do mariadb --no-defaults -S "$D/s.sock" -e 'select 1' >/dev/null 2>&1 && break; sleep .05; done
    mariadb --no-defaults -S "$D/s.sock" -e "create database if not exists slurm_acct_db; create or replace user 'root'@'localhost' identified via unix_socket; grant all on *.* to 'root'@'localhost' with grant option"
  fi
  cat >"$L/etc/slurmdbd.conf" <<C
AuthType=auth/munge
AuthInfo=socket=$L/run/munge.socket,cred_expire=${SLURM_CRED_EXPIRE:-5}
DbdHost=localhost
DbdAddr=127.0.0.1
DbdPort=$((BASE+2))
SlurmUser=root
LogFile=$L/log/slurmdbd.log
PidFile=$L/run/slurmdbd.pid
StorageType=accounting_storage/mysql
StorageHost=localhost
StorageUser=root
StorageLoc=slurm_acct_db
C
  chmod 600 "$L/etc/slurmdbd.conf"
  if ! alive "$L/run/slurmdbd.pid"; then
    MYSQL_UNIX_PORT=$D/s.sock MYSQL_HOME=$L/etc setsid slurmdbd >"$L/log/slurmdbd.out" 2>&1 </dev/null
    for _ in $(seq 200); do timeout 2 sacctmgr -n list cluster >/dev/null 2>&1 && break; sleep .05; done
    sacctmgr -i add cluster ${SLURM_CLUSTER:-lab} >/dev/null 2>&1 || true
  fi
fi
# ---- 5. slurmctld, slurmd x N ---------------------------------------------------------------
alive "$L/run/slurmctld.pid" || slurmctld -f "$SLURM_CONF"
for ((i=1;i<=N;i++)); do
  mkdir -p "$L/spool/n$i"
  alive "$L/run/slurmd.n$i.pid" || slurmd -f "$SLURM_CONF" -N n$i
done
ok=0; for _ in $(seq 300); do
  s=$(timeout 2 sinfo -h -N -p debug -t idle,mix,alloc -o %N 2>/dev/null | wc -l || true); [ "$s" = "$N" ] && { ok=1; break; }; sleep .05; done
[ $ok = 1 ] || { say "FAILED, logs in $L/log"; sinfo >&2 || true; tail -n 15 "$L"/log/slurm*.log >&2; exit 1; }
say "$PT, up in $(echo "$(date +%s.%N) - $T0" | bc 2>/dev/null || python3 -c "import time;print(round(time.time()-$T0,2))") s: $(sinfo -h -p debug -o '%D nodes %t cpus/node=%c gres=%G')"
echo "export SLURM_CONF=$SLURM_CONF"
