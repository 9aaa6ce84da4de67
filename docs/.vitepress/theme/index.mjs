import DefaultTheme from 'vitepress/theme-without-fonts';
import { SiteDiagram } from './site-diagram.mjs';
import './style.css';

/** @type {import('vitepress').Theme} */
export default {
  extends: DefaultTheme,
  enhanceApp({ app }) {
    app.component('SiteDiagram', SiteDiagram);
  },
};
