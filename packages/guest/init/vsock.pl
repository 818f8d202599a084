# Carries the channel between a vsock port and two pipes, since Node can do nothing with a vsock (see channel.ts): one connection at a
# time, of the host alone. The end of a connection is the end of file of the first pipe; the next one is taken when the second has ended.
# Arguments: port | pipe to the supervisor | pipe from the supervisor
# Numbers: AF_VSOCK 40, SOCK_STREAM 1, VMADDR_CID_ANY 0xffffffff, VMADDR_CID_HOST 2. sockaddr_vm: family u16 | 0 u16 | port u32 | cid u32 | 4 bytes
use strict;
my ($port, $to, $from) = @ARGV;
$SIG{PIPE} = 'IGNORE';

# What can no longer be delivered is thrown away: the reader of the other pipe hears of the end.
sub put { my ($file, $bytes) = @_; while (length $bytes) { my $n = syswrite($file, $bytes); return unless defined $n; substr($bytes, 0, $n, '') } }

sub carry {
  my ($host, $in, $out) = @_;
  my $connected = 1;
  while (1) {
    my $ready = '';
    vec($ready, fileno($host), 1) = 1 if $connected;
    vec($ready, fileno($out), 1) = 1;
    next unless select($ready, undef, undef, undef) > 0;
    if ($connected && vec($ready, fileno($host), 1)) {
      if (sysread($host, my $bytes, 65536)) { put($in, $bytes) } else { $connected = 0; close($in) }
    }
    if (vec($ready, fileno($out), 1)) {
      sysread($out, my $bytes, 65536) or return;
      put($host, $bytes);
    }
  }
}

socket(my $listener, 40, 1, 0) or die "vsock: $!\n";
bind($listener, pack('S2 L2 x4', 40, 0, $port, 0xffffffff)) or die "vsock port $port: $!\n";
listen($listener, 1) or die "vsock port $port: $!\n";
while (1) {
  my $peer = accept(my $host, $listener) or next;
  my (undef, undef, undef, $cid) = unpack('S2 L2', $peer);
  next unless $cid == 2;
  # In this order on both sides: each open waits for the other.
  open(my $in, '>', $to) or die "$to: $!\n";
  open(my $out, '<', $from) or die "$from: $!\n";
  carry($host, $in, $out);
}
