/**
 * Why a test may be skipped on a machine of continuous integration: what such a machine cannot offer. Any other skip fails the
 * run there. Tests give the reason themselves: `test('…', ({ skip }) => { skip(!usable, 'KVM does not boot a kernel here') })`.
 */
export const ALLOWED_SKIPS = [
  { pattern: /^KVM (does not boot|is not there)/, because: 'hosted machines often have no nested virtualisation' },
  { pattern: /^Firecracker is not installed/, because: 'it is not in the distribution; QEMU is tested instead' },
  { pattern: /^cgroup controllers are not writable/, because: 'containers of continuous integration may not delegate them' },
]

/** @param {string | undefined} reason */
export function isAllowedSkip(reason) {
  return reason !== undefined && ALLOWED_SKIPS.some(({ pattern }) => pattern.test(reason))
}
