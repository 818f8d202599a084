#!/bin/busybox sh
# First process of the microVM, in the initramfs: finds the disks, lays a writable overlay over the read-only base and
# hands over to the reaper (tini) with the supervisor. The image build fills in the lists of modules, in loading order; the
# second is what a VMM without PCI and virtio-serial needs beside the first.
B=/bin/busybox
$B mount -t proc proc /proc
$B mount -t sysfs sysfs /sys
$B mount -t devtmpfs devtmpfs /dev
for module in @MODULES@; do $B insmod /modules/$module || echo "swarm: module $module was not loaded"; done
case " $($B cat /proc/cmdline) " in *" swarm.channel=vsock "*) for module in @VSOCK_MODULES@; do $B insmod /modules/$module || echo "swarm: module $module was not loaded"; done ;; esac
case " $($B cat /proc/cmdline) " in *" swarm.probe "*) echo SWARM-PROBE-OK; $B poweroff -f ;; esac
tries=0
while [ ! -e /dev/vda ] && [ $tries -lt 200 ]; do $B sleep 0.02; tries=$((tries + 1)); done
$B mount -t erofs -o ro /dev/vda /base || { echo "swarm: no base image"; $B poweroff -f; }
$B mount -t tmpfs -o size=50%,mode=755 tmpfs /layer
$B mkdir -p /layer/upper/opt/swarm /layer/work
$B cp /guest/* /layer/upper/opt/swarm/
$B mount -t overlay -o lowerdir=/base,upperdir=/layer/upper,workdir=/layer/work overlay /new
$B mkdir -p /new/proc /new/sys /new/dev /new/work /new/run
$B mount --move /proc /new/proc
$B mount --move /sys /new/sys
$B mount --move /dev /new/dev
$B mkdir -p /new/dev/shm /new/dev/pts
$B mount -t devpts -o mode=620,ptmxmode=666 devpts /new/dev/pts
$B mount -t tmpfs -o mode=1777 tmpfs /new/dev/shm
$B mount -t tmpfs -o mode=755 tmpfs /new/run
[ -e /new/dev/vsock ] && $B mkfifo -m 600 /new/run/swarm-channel-in /new/run/swarm-channel-out
$B ln -s /proc/self/fd /new/dev/fd
$B ln -s /proc/self/fd/0 /new/dev/stdin
$B ln -s /proc/self/fd/1 /new/dev/stdout
$B ln -s /proc/self/fd/2 /new/dev/stderr
$B mount -t cgroup2 cgroup2 /new/sys/fs/cgroup
$B mkdir /new/sys/fs/cgroup/supervised
echo +pids > /new/sys/fs/cgroup/cgroup.subtree_control
# tini is forked from this shell's pid 1, so it and the supervisor are put into the limited group together.
echo $$ > /new/sys/fs/cgroup/supervised/cgroup.procs
$B ip link set lo up
echo -900 > /proc/self/oom_score_adj 2>/dev/null || echo -900 > /new/proc/self/oom_score_adj
exec $B switch_root /new /usr/bin/env -i PATH=/usr/local/bin:/usr/bin:/bin HOME=/root UV_THREADPOOL_SIZE=8 \
  /usr/bin/tini -g -- /usr/local/bin/node /opt/swarm/supervisor.mjs
