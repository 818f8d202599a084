/**
 * Says things to people who do not see the screen: what is put into a live region is read out. The same text twice is read
 * twice, since the region is emptied first.
 */
export function createAnnouncer(region, later = queueMicrotask) {
  return (text) => {
    region.textContent = ''
    later(() => {
      region.textContent = text
    })
  }
}
