import type { StreamStart } from '@swarm/contract/vm-operations.ts'

/*
 * A pseudo-terminal in a microVM, by a perl program on its pipes (Node has none, and perl is essential in Debian). Its stdin are
 * records, tag u8 | length u32 BE | bytes: 0 what is typed, 1 a new size (columns u16, rows u16). Numbers are those of Linux on
 * x86_64: setsid 112, TIOCSPTLCK, TIOCGPTN, TIOCSWINSZ, TIOCSCTTY, F_SETFL with O_RDWR|O_NONBLOCK.
 */
const PROGRAM = String.raw`use strict;
my ($columns, $rows, @argv) = @ARGV;
open(my $master, '+<', '/dev/ptmx') or die "/dev/ptmx: $!\n";
my $number = pack('i', 0);
ioctl($master, 0x40045431, $number) or die "TIOCSPTLCK: $!\n";
ioctl($master, 0x80045430, $number) or die "TIOCGPTN: $!\n";
my $path = '/dev/pts/' . unpack('i', $number);
sub resize { my $size = pack('S4', $_[1], $_[0], 0, 0); ioctl($master, 0x5414, $size) }
resize($columns, $rows);
my $pid = fork();
defined $pid or die "fork: $!\n";
if (!$pid) {
  syscall(112);
  open(my $terminal, '+<', $path) or die "$path: $!\n";
  ioctl($terminal, 0x540E, 0);
  close($master);
  open(STDIN, '<&', $terminal); open(STDOUT, '>&', $terminal); open(STDERR, '>&', $terminal);
  close($terminal);
  exec { $argv[0] } @argv or do { print STDERR "$argv[0]: $!\n"; exit 127 };
}
fcntl($master, 4, 2050);
my ($in, $typed, $open) = ('', '', 1);
for (;;) {
  my ($read, $write) = ('', '');
  vec($read, fileno($master), 1) = 1;
  vec($read, 0, 1) = 1 if $open && length($typed) < 65536;
  vec($write, fileno($master), 1) = 1 if length $typed;
  select($read, $write, undef, undef) > 0 or next;
  if (vec($read, fileno($master), 1)) {
    my $got = sysread($master, my $said, 32768);
    if (!$got) { next if !defined $got && $!{EAGAIN}; last }
    for (my $at = 0; $at < $got;) { my $put = syswrite(STDOUT, $said, $got - $at, $at); defined $put or exit 1; $at += $put }
  }
  if (length $typed && vec($write, fileno($master), 1)) {
    my $put = syswrite($master, $typed);
    substr($typed, 0, $put, '') if $put;
  }
  if ($open && vec($read, 0, 1)) {
    my $got = sysread(STDIN, $in, 65536, length $in);
    if (!$got) { $open = 0; $typed .= "\x04" }
    while (length $in >= 5) {
      my ($tag, $length) = unpack('CN', $in);
      last if length $in < 5 + $length;
      my $bytes = substr($in, 5, $length);
      substr($in, 0, 5 + $length, '');
      if ($tag == 0) { $typed .= $bytes } else { resize(unpack('nn', $bytes)) }
    }
  }
}
close($master);
waitpid($pid, 0);
exit($? & 127 ? 128 + ($? & 127) : $? >> 8);
`

/** The command line that runs `argv` on a terminal of this size. */
export function terminalArgv(terminal: NonNullable<StreamStart['terminal']>, argv: readonly string[]): string[] {
  return ['perl', '-e', PROGRAM, String(terminal.columns), String(terminal.rows), ...argv]
}

const record = (tag: number, bytes: Uint8Array): Buffer => {
  const out = Buffer.allocUnsafe(5 + bytes.length)
  out.writeUInt8(tag, 0)
  out.writeUInt32BE(bytes.length, 1)
  out.set(bytes, 5)
  return out
}
/** What is typed, and a new size, as its stdin takes them. */
export const typed = (bytes: Uint8Array): Buffer => record(0, bytes)
export function resized({ columns, rows }: { columns: number; rows: number }): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt16BE(columns, 0)
  bytes.writeUInt16BE(rows, 2)
  return record(1, bytes)
}
