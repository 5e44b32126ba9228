--
-- PostgreSQL database dump
--

\restrict 0DIU0F74ovspsjBZtt6mfBt5SbqzbWhudA92XmogmaDHiQ6ZKLQL9hY3VffZxK3

-- Dumped from database version 15.18 (Debian 15.18-0+deb12u1)
-- Dumped by pg_dump version 15.18 (Debian 15.18-0+deb12u1)

SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;

--
-- Data for Name: oauth2_registered_client; Type: TABLE DATA; Schema: public; Owner: lab
--

INSERT INTO public.oauth2_registered_client VALUES ('id-1', 'reg', '2025-03-14 09:26:53.589', '{bcrypt}$2a$04$kbLNl3XsDzOL.gTe5zavYOkyKFN1mYEzXZGBUu.9O.sQw5bKu2wMu', '2029-12-31 19:00:00', 'São Paulo\Zürich', 'client_secret_basic', 'client_credentials', '', '', 'read,write', '{"@class":"java.util.Collections$UnmodifiableMap","settings.client.require-proof-key":false}', '{"@class":"java.util.Collections$UnmodifiableMap","settings.token.reuse-refresh-tokens":true,"settings.token.access-token-time-to-live":["java.time.Duration",900.000000000],"settings.token.access-token-format":{"@class":"org.springframework.security.oauth2.server.authorization.settings.OAuth2TokenFormat","value":"self-contained"},"settings.token.refresh-token-time-to-live":["java.time.Duration",3600.000000000]}');
INSERT INTO public.oauth2_registered_client VALUES ('id-2', 'multi', '2025-03-14 09:26:53.589', '{bcrypt}$2a$04$kbLNl3XsDzOL.gTe5zavYOkyKFN1mYEzXZGBUu.9O.sQw5bKu2wMu', NULL, 'two
lines	and a tab "q"', 'client_secret_basic', 'client_credentials', '', '', 'read', '{"@class":"java.util.Collections$UnmodifiableMap","settings.client.require-proof-key":false}', '{"@class":"java.util.Collections$UnmodifiableMap","settings.token.reuse-refresh-tokens":true,"settings.token.access-token-time-to-live":["java.time.Duration",900.000000000],"settings.token.access-token-format":{"@class":"org.springframework.security.oauth2.server.authorization.settings.OAuth2TokenFormat","value":"self-contained"},"settings.token.refresh-token-time-to-live":["java.time.Duration",3600.000000000]}');
INSERT INTO public.oauth2_registered_client VALUES ('id-3', 'nameless', '2025-03-14 09:26:53.589', '{bcrypt}$2a$04$kbLNl3XsDzOL.gTe5zavYOkyKFN1mYEzXZGBUu.9O.sQw5bKu2wMu', NULL, 'id-3', 'client_secret_basic', 'client_credentials', '', '', 'read', '{"@class":"java.util.Collections$UnmodifiableMap","settings.client.require-proof-key":false}', '{"@class":"java.util.Collections$UnmodifiableMap","settings.token.reuse-refresh-tokens":true,"settings.token.access-token-time-to-live":["java.time.Duration",900.000000000],"settings.token.access-token-format":{"@class":"org.springframework.security.oauth2.server.authorization.settings.OAuth2TokenFormat","value":"self-contained"},"settings.token.refresh-token-time-to-live":["java.time.Duration",3600.000000000]}');


--
-- PostgreSQL database dump complete
--

\unrestrict 0DIU0F74ovspsjBZtt6mfBt5SbqzbWhudA92XmogmaDHiQ6ZKLQL9hY3VffZxK3

