# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
# For scripts in a guest: a real libvirtd, set up as Debian's libvirt-daemon-system would have.
# shellcheck disable=SC2034 # for those who source it
sysctl=/proc/sys/vm/unprivileged_userfaultfd

groupadd -rf kvm
groupadd -rf libvirt
useradd -rU -G kvm libvirt-qemu 2>/dev/null || id libvirt-qemu
mkdir -p /run/libvirt /var/lib/libvirt /var/log/libvirt/qemu /etc/libvirt
echo 'security_driver = "none"' >/etc/libvirt/qemu.conf
echo 'unix_sock_group = "root"' >/run/libvirtd.conf
: >/run/virtlogd.conf
virtlogd -f /run/virtlogd.conf &
libvirtd -f /run/libvirtd.conf &
libvirtd=$!
until virsh --quiet list 2>/dev/null; do
	kill -0 $libvirtd
	sleep 0.2
done
