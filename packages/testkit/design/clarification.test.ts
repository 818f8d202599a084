import { answerSession, createSession, editSpec, listSpecVersions, retrySession, showSession, showSpecVersion, skipQuestions } from '@swarm/contract/endpoints/design.ts'
import { MAX_QUESTIONS } from '@swarm/core/design/clarify.ts'
import { eachDialect } from '@swarm/server/db/testing.ts'
import { expect, test } from 'vitest'
import { asking, diligent, scores, type DesignerAnswer } from './designer-model.ts'
import { refusal, serveDesign } from './served.ts'

const EXISTING = { 'package.json': '{"type":"module","main":"src/tips.js","scripts":{"test":"node --test"}}', 'src/tips.js': 'export {}\n', 'test/tips.test.js': '' }
const IDEA = { projectId: 'PRJ-1', repositoryId: 'REP-1', input: 'A page that works out tips.' }
const SPEC = '# Tips\n\n## Requirements\n- R1 Tips are whole cents.\n- R2 The total is shown.\n'

eachDialect((_dialect, make) => {
  test('an idea is asked about, one question after the other, becomes a spec card and then a plan', async () => {
    await using place = await serveDesign(make, asking([{ text: 'Who uses it?', options: ['guests', 'waiters'] }, { text: 'Does src/tips.js stay?', files: ['src/tips.js', 'src/invented.js'] }]), EXISTING)
    const { admin } = place
    const { id } = await admin.call(createSession, { body: IDEA })
    const answer = (number: number, text: string) => admin.call(answerSession, { params: { sessionId: id }, body: { number, answer: text } })
    const first = await place.settled(id)
    expect(first).toMatchObject({
      state: 'clarifying', title: 'A page that works out tips.', requirements: [], can: { answer: true, edit: true, retry: false },
      clarification: { mode: 'open', open: 1, coverage: scores(30), questions: [{ number: 1, question: 'Who uses it?', options: ['guests', 'waiters'], answer: null }] },
    })
    // The repository is known before anything is asked.
    expect(place.model.served[0]?.content).toContain('Entry points: src/tips.js')

    expect(await refusal(answer(2, 'too early'))).toEqual({ status: 404, code: 'not_found' })
    await answer(1, 'guests')
    const second = await place.settled(id)
    expect(second.clarification).toMatchObject({ open: 2, questions: [{ answer: 'guests', answeredBy: 'admin admin', acknowledgement: 'I noted answer 1.' }, { question: 'Does src/tips.js stay?', files: ['src/tips.js'], answer: null }] })
    expect(place.model.served[1]?.content).toContain('1. Who uses it?\n   guests')
    expect(await answer(1, 'guests')).toMatchObject({ state: 'clarifying' })
    expect(await refusal(answer(1, 'waiters'))).toEqual({ status: 409, code: 'question_closed' })

    await answer(2, 'It stays.')
    const planned = await place.settled(id)
    expect(planned).toMatchObject({ state: 'reviewing', title: 'Card', specVersion: 2, clarification: { mode: 'closed', open: null, coverage: scores(85) }, requirements: [{ id: 'R1' }, { id: 'R2', text: 'Who uses it? guests' }, { id: 'R3' }] })
    expect(place.model.served.map(({ step }) => step)).toEqual(['clarify:1', 'clarify:2', 'clarify:3', 'card', 'skeleton', 'expand:part-1'])
    expect((await admin.call(listSpecVersions, { params: { sessionId: id }, query: {} })).items).toMatchObject([{ version: 2, author: 'designer', requirements: 3 }, { version: 1, author: 'admin admin', requirements: 0 }])
    expect(await admin.call(showSpecVersion, { params: { sessionId: id, version: 2 } })).toMatchObject({ card: { title: 'Card', users: ['Everybody.'] }, markdown: expect.stringContaining('- R2 Who uses it? guests') })
    const messages = await place.db.read.selectFrom('events').select('data').where('type', '=', 'session:message').orderBy('seq').execute()
    expect(messages.map(({ data }) => JSON.parse(data) as { from: string; number: number | null; done?: boolean }).map(({ from, number, done }) => [from, number, done])).toEqual([
      ['clarifier', 1, false], ['admin admin', 1, undefined], ['clarifier', 2, false], ['admin admin', 2, undefined], ['clarifier', null, true],
    ])
    expect(await refusal(answer(2, 'late'))).toEqual({ status: 409, code: 'question_closed' })
    expect(place.errors).toEqual([])
  })

  test('a whole spec is scored once and asked nothing, even if the model would like to', async () => {
    await using place = await serveDesign(make, (call) => (call.step.startsWith('clarify') ? { submit: { coverage: scores(80), question: { text: 'What colour?', area: 'technical' } } } : diligent(call)))
    const { id } = await place.admin.call(createSession, { body: { projectId: 'PRJ-1', repositoryId: 'REP-1', spec: SPEC } })
    expect(await place.settled(id)).toMatchObject({ state: 'reviewing', specVersion: 1, clarification: { mode: 'closed', questions: [], coverage: scores(80) } })
    expect(place.model.served.map(({ step }) => step)).toEqual(['clarify:1', 'skeleton', 'expand:part-1'])
  })

  test('what is answered about a spec is worked into it, as the designer\'s version', async () => {
    await using place = await serveDesign(make, asking([{ text: 'Are shares rounded?' }]))
    const { id } = await place.admin.call(createSession, { body: { projectId: 'PRJ-1', repositoryId: 'REP-1', spec: SPEC } })
    await place.design.idle()
    await place.admin.call(answerSession, { params: { sessionId: id }, body: { number: 1, answer: 'Up.' } })
    expect(await place.settled(id)).toMatchObject({ state: 'reviewing', specVersion: 2, requirements: [{ id: 'R1' }, { id: 'R2', text: 'Are shares rounded? Up.' }] })
  })

  test('a question that was asked is given back once, and a second time nothing more is asked', async () => {
    const repeating = (call: { step: string }): DesignerAnswer | null => (call.step.startsWith('clarify') ? { submit: { coverage: scores(10), question: { text: call.step === 'clarify:2:again' ? 'Whom is it for?' : call.step === 'clarify:3:again' ? 'who uses it' : 'Who uses it?', area: 'users' } } } : null)
    await using place = await serveDesign(make, (call) => repeating(call) ?? diligent(call))
    const { id } = await place.admin.call(createSession, { body: IDEA })
    for (const number of [1, 2]) {
      expect((await place.settled(id)).clarification.open).toBe(number)
      await place.admin.call(answerSession, { params: { sessionId: id }, body: { number, answer: `answer ${number}` } })
    }
    const shown = await place.settled(id)
    expect(shown).toMatchObject({ state: 'reviewing', clarification: { questions: [{ question: 'Who uses it?' }, { question: 'Whom is it for?' }] } })
    expect(place.model.served.map(({ step }) => step).slice(0, 5)).toEqual(['clarify:1', 'clarify:2', 'clarify:2:again', 'clarify:3', 'clarify:3:again'])
    expect(place.model.served[2]?.content).toContain('which is question 1 again')
  })

  test(`no more than ${MAX_QUESTIONS} questions are asked`, async () => {
    const topics = ['colour', 'currency', 'rounding', 'language', 'printing', 'storage', 'sharing', 'payment', 'history', 'offline', 'keyboard', 'phones', 'taxes']
    await using place = await serveDesign(make, (call) => (call.step.startsWith('clarify') ? { submit: { coverage: scores(10), question: { text: `What about ${topics[Number(call.step.split(':')[1]) - 1] ?? ''}?`, area: 'features' } } } : diligent(call)))
    const { id } = await place.admin.call(createSession, { body: IDEA })
    for (let number = 1; number <= MAX_QUESTIONS; number++) {
      await place.design.idle()
      await place.admin.call(answerSession, { params: { sessionId: id }, body: { number, answer: 'Take a default.' } })
    }
    expect(await place.settled(id)).toMatchObject({ state: 'reviewing', requirements: { length: MAX_QUESTIONS + 1 } })
  })

  test('who has said enough is asked no more, also while the next question is being thought of', async () => {
    await using place = await serveDesign(make, (call) => (call.step === 'clarify:2' ? { hold: true } : asking([{ text: 'Who uses it?' }])(call)))
    const { id } = await place.admin.call(createSession, { body: IDEA })
    await place.design.idle()
    await place.admin.call(answerSession, { params: { sessionId: id }, body: { number: 1, answer: 'guests' } })
    expect(await place.admin.call(skipQuestions, { params: { sessionId: id } })).toMatchObject({ state: 'ready_for_docs' })
    expect(await place.settled(id)).toMatchObject({ state: 'reviewing', specVersion: 2, requirements: { length: 2 } })
    expect(await refusal(place.admin.call(skipQuestions, { params: { sessionId: id } }))).toEqual({ status: 409, code: 'illegal_transition' })
  })

  test('a spec that a person writes while being asked is what is asked about from then on', async () => {
    await using place = await serveDesign(make, (call) => (call.content.includes('whole cents') ? diligent(call) : asking([{ text: 'Who uses it?' }])(call)))
    const { id } = await place.admin.call(createSession, { body: IDEA })
    await place.design.idle()
    expect(await refusal(place.admin.call(editSpec, { params: { sessionId: id }, body: { spec: '# no requirement', baseVersion: 1 } }))).toEqual({ status: 422, code: 'spec_without_requirements' })
    expect(await place.admin.call(editSpec, { params: { sessionId: id }, body: { spec: SPEC, baseVersion: 1, reason: 'said better' } })).toMatchObject({ state: 'clarifying', specVersion: 2 })
    // What a person wrote as a spec is not written again.
    expect(await place.settled(id)).toMatchObject({
      state: 'reviewing', specVersion: 2, title: 'Tips', requirements: [{ id: 'R1' }, { id: 'R2' }], clarification: { questions: [{ answer: 'See version 2 of the spec.', answeredBy: 'admin admin' }] },
    })
    expect(place.model.served.map(({ step }) => step)).toEqual(['clarify:1', 'clarify:2', 'skeleton', 'expand:part-1'])
  })

  test('a session that waits for leave to start asks nothing of the model, survives a restart so, and is begun or over by the decision', async () => {
    await using place = await serveDesign(make, diligent)
    const begin = () => place.admin.call(createSession, { body: { ...IDEA, clarify: 'off', confirmStart: true, maxCostMicroUsd: 7 } })
    const { id } = await begin()
    await place.design.resumeOpenSessions()
    expect(await place.settled(id)).toMatchObject({ state: 'input' })
    expect(place.model.served).toEqual([])
    expect(await place.decide('design_start', 'approved')).toMatchObject({ requester: 'admin admin', payload: { wanted: IDEA.input, maxCostMicroUsd: 7, modelLabel: 'rehearsal' } })
    expect(await place.settled(id)).toMatchObject({ state: 'reviewing' })
    const { id: refused } = await begin()
    await place.decide('design_start', 'rejected', 'not this')
    expect(await place.settled(refused)).toMatchObject({ state: 'cancelled' })
  })

  test('with questions off an idea becomes a card at once', async () => {
    await using place = await serveDesign(make, diligent)
    const { id } = await place.admin.call(createSession, { body: { ...IDEA, clarify: 'off' } })
    expect(await place.settled(id)).toMatchObject({ state: 'reviewing', specVersion: 2, clarification: { mode: 'off' } })
    expect(place.model.served.map(({ step }) => step)).toEqual(['card', 'skeleton', 'expand:part-1'])
  })

  test('a card that cannot be built is asked for once more, and the session can be taken up again after that', async () => {
    let mended = false
    const twice = { title: 'Card', overview: '', users: [], requirements: [{ id: 'R1', text: '#' }] }
    await using place = await serveDesign(make, (call) => (call.step.startsWith('card') && !mended ? { submit: twice } : diligent(call)))
    const { id } = await place.admin.call(createSession, { body: { ...IDEA, clarify: 'off' } })
    expect(await place.settled(id)).toMatchObject({ state: 'failed', failure: { code: 'design_answer_malformed' } })
    expect(place.model.served.map(({ step }) => step)).toEqual(['card', 'card:again'])
    expect(place.model.served[1]?.content).toContain('Your previous card could not be used')
    mended = true
    await place.admin.call(retrySession, { params: { sessionId: id } })
    expect(await place.settled(id)).toMatchObject({ state: 'reviewing', failure: null })
  })

  test('a clarification that fails is taken up where it was', async () => {
    let mended = false
    await using place = await serveDesign(make, (call) => (call.step === 'clarify:2' && !mended ? { submit: { coverage: {} } } : asking([{ text: 'Who uses it?' }, { text: 'What is rounded?' }])(call)))
    const { id } = await place.admin.call(createSession, { body: IDEA })
    await place.design.idle()
    await place.admin.call(answerSession, { params: { sessionId: id }, body: { number: 1, answer: 'guests' } })
    expect(await place.settled(id)).toMatchObject({ state: 'failed', failure: { code: 'design_answer_malformed' }, can: { retry: true } })
    mended = true
    expect(await place.admin.call(retrySession, { params: { sessionId: id } })).toMatchObject({ state: 'clarifying' })
    expect(await place.settled(id)).toMatchObject({ state: 'clarifying', clarification: { open: 2 } })
    expect(place.model.served.filter(({ step }) => step === 'clarify:1')).toHaveLength(1)
  })

  test('strangers, unknown sessions and misshapen answers are refused with 401, 404 and 400', async () => {
    await using place = await serveDesign(make, asking([{ text: 'Who uses it?' }]))
    const { id } = await place.admin.call(createSession, { body: IDEA })
    await place.design.idle()
    const call = { params: { sessionId: id }, body: { number: 1, answer: 'guests' } }
    for (const [endpoint, input] of [[answerSession, call], [skipQuestions, { params: { sessionId: id } }]] as const) expect(await refusal(place.stranger.call(endpoint as typeof answerSession, input as typeof call))).toEqual({ status: 401, code: 'unauthenticated' })
    expect(await refusal(place.admin.call(answerSession, { ...call, params: { sessionId: 'SES-00000000' } }))).toEqual({ status: 404, code: 'not_found' })
    expect(await refusal(place.admin.call(skipQuestions, { params: { sessionId: 'SES-00000000' } }))).toEqual({ status: 404, code: 'not_found' })
    for (const answer of ['', '   ', 'x'.repeat(4_001)]) expect(await refusal(place.admin.call(answerSession, { ...call, body: { number: 1, answer } }))).toEqual({ status: 400, code: 'invalid_input' })
    for (const body of [{ ...IDEA, spec: SPEC }, { projectId: 'PRJ-1', repositoryId: 'REP-1' }, { ...IDEA, input: ' ' }]) expect(await refusal(place.admin.call(createSession, { body }))).toEqual({ status: 400, code: 'invalid_input' })
    expect((await place.admin.call(showSession, { params: { sessionId: id } })).clarification).toMatchObject({ open: 1, questions: [{ answer: null }] })
  })
})
