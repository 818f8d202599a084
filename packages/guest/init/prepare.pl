# Carries out one "prepare" per line of stdin (see prepare.ts): clock, randomness, machine id, host name, scratch disk.
# Or moves the clock: "clock", tab, ns by which it is moved.
# Tab-separated: now (ms since the epoch, of the host) | CLOCK_MONOTONIC when that arrived (ns) | entropy (hex) | machine id | host name | mount scratch (0/1)
# Numbers of system calls are those of x86_64: clock_settime 227, clock_gettime 228, sethostname 170, mount 165.
use strict;
$| = 1;

sub now { my ($clock) = @_; my $t = pack('q2', 0, 0); syscall(228, $clock + 0, $t) == 0 or die "clock_gettime: $!\n"; my ($s, $ns) = unpack('q2', $t); return $s * 1_000_000_000 + $ns }
# Whole seconds by integers: the quotient of floats is a second too large just below one.
sub set_clock { my ($ns) = @_; my $rest = $ns % 1_000_000_000; syscall(227, 0, pack('q2', ($ns - $rest) / 1_000_000_000, $rest)) == 0 or die "clock_settime: $!\n" }
sub put { my ($path, $text) = @_; open(my $f, '>', $path) or die "$path: $!\n"; print $f $text; close($f) or die "$path: $!\n" }
# What is as it should be already (a guest that stood still is prepared again) is left alone, and so is what was added to it.
sub get { my ($path) = @_; open(my $f, '<', $path) or return ''; local $/; my $text = <$f>; return defined $text ? $text : '' }
sub mount_at { my ($from, $to, $type, $flags, $options) = @_; syscall(165, $from, $to, $type, $flags + 0, $options) == 0 or die "mount $from at $to: $!\n" }
sub folder { my ($path, $mode) = @_; mkdir($path) or -d $path or die "$path: $!\n"; chmod($mode, $path) or die "$path: $!\n" }

# What a setup wrote outside of the home and the workspace lies on the scratch disk as layers over the image's folders (docs/decisions/0017).
# Over these it is laid: not /var/tmp and not what is mounted elsewhere.
my @LAYERED = qw(usr etc opt var/lib);
sub mount_layers {
  for my $place (@LAYERED) {
    my $folder = '/work/.swarm/layer/' . ($place =~ tr{/}{-}r);
    folder($_, 0755) for ($folder, "$folder/upper", "$folder/work");
    mount_at('overlay', "/$place", 'overlay', 0, "lowerdir=/$place,upperdir=$folder/upper,workdir=$folder/work");
  }
}

sub prepare {
  my ($now_ms, $received_ns, $entropy, $machine_id, $hostname, $scratch) = @_;
  my @done;
  set_clock($now_ms * 1_000_000 + (now(1) - $received_ns));
  push @done, 'clock';

  my $bytes = pack('H*', $entropy);
  length($bytes) == 32 or die "entropy has " . length($bytes) . " bytes\n";
  open(my $random, '+<', '/dev/urandom') or die "/dev/urandom: $!\n";
  my $pool = pack('i2', 256, 32) . $bytes;
  ioctl($random, 0x40085203, $pool) or die "RNDADDENTROPY: $!\n";
  ioctl($random, 0x5207, 0) or die "RNDRESEEDCRNG: $!\n";
  close($random);
  push @done, 'reseed';

  put('/etc/machine-id', "$machine_id\n") if get('/etc/machine-id') ne "$machine_id\n";
  push @done, 'machine_id';
  syscall(170, $hostname, length($hostname)) == 0 or die "sethostname: $!\n";
  if (get('/etc/hostname') ne "$hostname\n") {
    put('/etc/hostname', "$hostname\n");
    put('/etc/hosts', "127.0.0.1 localhost $hostname\n::1 localhost\n");
  }
  push @done, 'hostname';

  if ($scratch) {
    # nosuid would break nothing, but the guest is root anyway; 1024 = MS_NOATIME.
    mount_at('/dev/vdb', '/work', 'ext4', 1024, '');
    folder('/work/.swarm', 0755);
    for (['tmp', '/tmp', 01777], ['vartmp', '/var/tmp', 01777], ['root', '/root', 0700]) {
      my ($name, $place, $mode) = @$_;
      folder("/work/.swarm/$name", $mode);
      mount_at("/work/.swarm/$name", $place, '', 4096, ''); # MS_BIND
    }
    mount_layers() if -d '/work/.swarm/layer';
    push @done, 'scratch';
  }
  return join(',', @done) . "\t" . int(now(0) / 1_000_000);
}

sub step { my ($ns) = @_;
  set_clock(now(0) + $ns);
  return "clock\t" . now(0) / 1_000_000;
}

# As a program of its own: begins a layer on a scratch disk that has none.
if (@ARGV && $ARGV[0] eq 'layer') {
  folder('/work/.swarm/layer', 0755);
  mount_layers();
  exit 0;
}

while (my $line = <STDIN>) {
  chomp $line;
  my $answer = eval { $line =~ /^clock\t(-?\d+)$/ ? step($1) : prepare(split(/\t/, $line)) };
  my $error = $@;
  $error =~ s/[\t\n]+/ /g;
  print(defined $answer ? "ok\t$answer\n" : "fail\t$error\n");
}
