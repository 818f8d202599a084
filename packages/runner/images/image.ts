/** What a repository's swarm.yml may add to the image. */
export interface ImageExtras {
  /** Debian packages. */
  packages?: readonly string[]
  /** npm packages, installed globally without their install scripts. */
  npm?: readonly string[]
}

/** A finished image in the cache: a folder named by its digest, never changed after. */
export interface Image {
  /** SHA-256 (hex) over everything that went in. */
  readonly digest: string
  readonly directory: string
  /** Paths of the kernel (vmlinuz), the initramfs and the read-only EROFS base. */
  readonly kernel: string
  readonly initrd: string
  readonly root: string
  readonly kernelVersion: string
  readonly suite: string
  readonly guestBundleDigest: string
  /** Sum of the three files. */
  readonly bytes: number
  readonly builtAtMs: number
}

export interface BuildProgress {
  phase: 'waiting' | 'debian' | 'kernel' | 'root' | 'initramfs' | 'probe' | 'template' | 'ready'
  detail: string
  bytes?: number
}

/** Raised with every change of the build that its inputs do not show. */
export const IMAGE_FORMAT = 1

/** In every image. tini reaps orphans as PID 1 (Node does not); perl-base, which reseeds clones, is essential in Debian. */
export const BASE_PACKAGES = ['git', 'ca-certificates', 'ripgrep', 'curl', 'tini', 'procps', 'patch', 'make'] as const
/** Exact pin: npm is not part of the Node binary. */
export const NPM_VERSION = '11.21.2'
/** In loading order; modules that the kernel has built in are skipped. */
export const KERNEL_MODULES = ['virtio_pci', 'virtio_blk', 'virtio_console', 'erofs', 'overlay', 'crc32c_generic', 'ext4'] as const
/** In loading order: what Firecracker's devices need beside these (loaded with `swarm.channel=vsock` on the kernel's command line alone). */
export const VSOCK_MODULES = ['vmw_vsock_virtio_transport', 'virtio_balloon', 'virtio_rng', 'virtio_mmio'] as const
/** The newest of these that the distribution has is used: Debian's, then Ubuntu's. */
export const KERNEL_PACKAGES = ['linux-image-cloud-amd64', 'linux-image-virtual'] as const
