/** A secret as it may lie about: as it is, and in base64 at each of the three offsets in which it may stand in a longer text. */
export function encodings(secret: string): string[] {
  const shifted = [0, 1, 2].map((offset) => {
    const text = Buffer.concat([Buffer.alloc(offset), Buffer.from(secret)]).toString('base64').replace(/=+$/, '')
    // The first and last characters hold bits of the neighbours.
    return text.slice(Math.ceil(offset * 4 / 3), -1)
  })
  return [secret, ...new Set(shifted)]
}

/** As the search takes a pattern: hexadecimal, each byte one higher. */
export function hidden(text: string): string {
  return Buffer.from(Buffer.from(text).map((byte) => (byte + 1) % 256)).toString('hex')
}

/**
 * Perl, for root in a guest: searches all that it can read for the patterns on stdin (hexadecimal, each byte one higher).
 * What is read is raised by one as well before it is searched, so that the search does not find itself: neither its patterns nor what it
 * makes of them where it reads its own memory, which an exclusive or would turn into the plain text. Prints JSON: bytes that were searched
 * of each source, and what was found where.
 */
export const SEARCH = String.raw`
use strict; use Fcntl ':mode'; $| = 1;
my @patterns = map { chomp; pack('H*', $_) } <STDIN>;
my $keep = 0; for (@patterns) { $keep = length if length > $keep }
my ($n, %number) = (0); $number{$_} = $n++ for @patterns;
# One pass for all of them: perl makes a trie of such a list.
my $any = join('|', map { quotemeta } @patterns); $any = qr/($any)/;
my (%searched, @found);
my $zeros = "\0" x 1048576;
sub search { my ($source, $place, $bytes, $rest) = @_;
  $searched{$source} += length $bytes;
  return '' if $bytes eq $zeros;
  my $text = $rest . ($bytes =~ tr/\x00-\xff/\x01-\xff\x00/r);
  while ($text =~ /$any/g) { push @found, [$number{$1}, $place] if @found < 1000 }
  return substr($text, -$keep);
}
sub stream { my ($source, $place, $file, $limit) = @_;
  my ($rest, $at) = ('', 0);
  while ((my $n = sysread($file, my $bytes, 1048576)) ) { $rest = search($source, $place, $bytes, $rest); last if ($at += $n) >= $limit }
}
# Disks as they are, and every file but those of the kernel; what lies on the base alone is compressed there, so files are read too.
for my $disk (glob('/dev/vd?')) { open(my $f, '<:raw', $disk) or next; stream('disks', $disk, $f, 1e12) }
my @folders = ('/');
while (defined(my $folder = pop @folders)) {
  opendir(my $d, $folder) or next;
  for my $name (readdir $d) {
    next if $name eq '.' || $name eq '..';
    my $path = $folder eq '/' ? "/$name" : "$folder/$name";
    next if $path =~ m{^/(proc|sys|dev|base)$|^/usr/(lib|share|bin|sbin|include)$|^/usr/local/(bin|lib|share|include)$};
    my @stat = lstat $path or next;
    if (S_ISDIR($stat[2])) { push @folders, $path } elsif (S_ISREG($stat[2])) { open(my $f, '<:raw', $path) or next; stream('files', $path, $f, 1e9) }
  }
}
# All of physical memory, where this kernel shows it to root.
if (open(my $core, '<:raw', '/proc/kcore')) {
  sysread($core, my $head, 64); my ($offset, $size, $count) = (unpack('Q', substr($head, 32, 8)), unpack('S', substr($head, 54, 2)), unpack('S', substr($head, 56, 2)));
  sysseek($core, $offset, 0); sysread($core, my $table, $size * $count);
  for my $i (0 .. $count - 1) {
    my ($type, $flags, $at, $v, $p, $length) = unpack('LLQQQQ', substr($table, $i * $size, $size));
    next if $type != 1 || $length > 2**33 || !sysseek($core, $at, 0);
    my ($left, $rest) = ($length, '');
    while ($left > 0) { my $n = sysread($core, my $bytes, $left > 1048576 ? 1048576 : $left) or last; $rest = search('kernel', '/proc/kcore', $bytes, $rest); $left -= $n }
  }
}
for my $process (glob('/proc/[0-9]*')) {
  for my $name ('environ', 'cmdline', 'stack', 'comm') { open(my $f, '<:raw', "$process/$name") or next; stream('environments', "$process/$name", $f, 1e7) }
  # Which holds the memory of every process: only without it they are read one by one.
  next if ($searched{kernel} // 0) > 300_000_000 || $process eq "/proc/$$";
  open(my $maps, '<', "$process/maps") or next; open(my $memory, '<:raw', "$process/mem") or next;
  while (<$maps>) {
    my ($from, $to) = /^([0-9a-f]+)-([0-9a-f]+) r/ or next; next if /\[v/ || m{r..[ps] \S+ \S+ [1-9]\d* .*\.so|/usr/(lib|bin)|/usr/local/bin};
    my ($at, $end, $rest) = (hex $from, hex $to, '');
    while ($at < $end) { sysseek($memory, $at, 0) or last; my $n = sysread($memory, my $bytes, $end - $at > 1048576 ? 1048576 : $end - $at) or last; $rest = search('processes', "$process/mem", $bytes, $rest); $at += $n }
  }
}
if (open(my $memory, '<:raw', '/dev/mem')) { stream('physical', '/dev/mem', $memory, 2**30) }
print '{"searched":{', join(',', map { qq("$_":$searched{$_}) } sort keys %searched), '},"found":[', join(',', map { my ($i, $place) = @$_; $place =~ s/["\\\x00-\x1f]/?/g; qq({"pattern":$i,"place":"$place"}) } @found), ']}';
`
