import { h, mount } from './dom.js'

mount(document.getElementById('screen'), h('p', {}, 'No game is running.'))
