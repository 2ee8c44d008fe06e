#!/bin/sh
# Keeps one unit of one lab going: sh supervise.sh opsctl-lab LAB UNIT COMMAND...
# Whoever looks for it finds it by its first words in /proc. LAB_WATCH and LAB_BOX hold the control groups of this
# shell and of what it starts; LAB_AGAIN says after which end it starts again: 133 (a reboot, systemd-nspawn's word
# for it) or always.
lab=$2 unit=$3
for group in $LAB_WATCH; do echo 0 >"$group/cgroup.procs" || exit 90; done
shift 3
while :; do
  ( for group in $LAB_BOX; do echo 0 >"$group/cgroup.procs" || exit 90; done
    unset LAB_WATCH LAB_BOX LAB_AGAIN
    exec "$@" ) </dev/null
  code=$?
  echo "opsctl-lab: $lab $unit ended with $code"
  case $LAB_AGAIN:$code in
    133:133) ;;
    always:90) exit 90 ;;
    always:*) sleep 0.2 ;;
    *) exit "$code" ;;
  esac
done
