#!/bin/sh
# In the machine: unpacks the repository from the second disk at the first boot, runs the command, says how it ended
# on a port of its own, and powers off. A command that ends with 100 is run again after a reboot.
set -u
repository=/root/gantry
boots=/root/boots
mkdir -p "$repository"
cd "$repository" || exit 1
if [ ! -e "$boots" ]; then
  tar -xf /dev/disk/by-id/virtio-repository
  # The packages are complete, whenever package-lock.json was last written.
  touch node_modules/.package-lock.json
fi
echo boot >>"$boots"
GANTRY_VM_BOOT=$(wc -l <"$boots")
export GANTRY_VM_BOOT HOME=/root LANG=C.UTF-8
sh .vm-command >/dev/virtio-ports/output 2>&1 </dev/null
status=$?
if [ "$status" = 100 ]; then
  systemctl reboot
else
  echo "$status" >/dev/virtio-ports/exit
  systemctl poweroff
fi
