import { shorten } from '../design/text.ts'

/** Characters of comments that one attempt is given at most: a model has to read them all. */
const MOST_CHARACTERS = 200_000
/** What is left of a text for which there is no room. */
const SHORTENED = 300

interface Comment { readonly quoted: string; readonly body: string; readonly replies: readonly { readonly author: string; readonly body: string }[] }

/** The same comments, none left out; when they are too long together, the later ones are shortened and say so. */
export function boundedComments<T extends Comment>(comments: readonly T[]): T[] {
  let room = MOST_CHARACTERS
  const take = (text: string): string => {
    const taken = text.length <= room ? text : `${shorten(text, SHORTENED)} [cut: there are too many comments]`
    room = Math.max(0, room - taken.length)
    return taken
  }
  return comments.map((comment) => ({ ...comment, body: take(comment.body), quoted: room === 0 ? '' : take(comment.quoted), replies: comment.replies.map((reply) => ({ ...reply, body: take(reply.body) })) }))
}
