import type { ExecOptions, ExecResult, Vm } from '../drivers/driver.ts'

/** Perl of an attack on the channel: the port has one opener, the supervisor, whose descriptor is taken (pidfd_open 434, pidfd_getfd 438). */
const RAW = `my ($pid, $fd) = @ARGV; my $p = syscall(434, $pid + 0, 0); my $own = syscall(438, $p, $fd + 0, 0);
  die "no descriptor: $!" if $own < 0; open(our $port, '>&=', $own) or die $!; sub put { syswrite($port, $_[0]) == length($_[0]) or die $! }
  sub frame { my ($type, $stream, $payload) = @_; return pack('CNN', $type, $stream, length($payload)) . $payload }`

const RUN = 'pid=$(pgrep -f ^/usr/local/bin/node./opt/swarm/supervisor); fd=$(ls -l /proc/$pid/fd | sed -n "s|.* \\([0-9]*\\) -> /dev/vport.*|\\1|p"); exec perl -e "$SCRIPT" $pid $fd'

/** Has a hostile guest of QEMU write to its channel itself. @param attack perl, with `put(bytes)` and `frame(type, stream, payload)` */
export const writeToChannel = (vm: Vm, attack: string, options: Partial<ExecOptions> = {}): Promise<ExecResult> => vm.exec({ argv: ['/bin/sh', '-c', RUN], env: { SCRIPT: `${RAW}\n${attack}` }, ...options })
