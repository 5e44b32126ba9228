"""Hashes in the formats of Spring's encoders, made by libraries of other projects."""

import base64
import hashlib
import os

import argon2
import bcrypt


def bcrypt_2a(password, cost=4):
    return "{bcrypt}" + bcrypt.hashpw(password.encode(), bcrypt.gensalt(cost, prefix=b"2a")).decode()


def bare_bcrypt_2b(password):
    return bcrypt.hashpw(password.encode(), bcrypt.gensalt(4, prefix=b"2b")).decode()


def argon2_v5_8(password):
    hasher = argon2.PasswordHasher(time_cost=2, memory_cost=16384, parallelism=1, hash_len=32, salt_len=16)
    return "{argon2@SpringSecurity_v5_8}" + hasher.hash(password)


def pbkdf2(password):
    salt = os.urandom(8)
    return "{pbkdf2}" + (salt + hashlib.pbkdf2_hmac("sha1", password.encode(), salt, 185_000, 32)).hex()


def pbkdf2_v5_8(password):
    salt = os.urandom(16)
    derived = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, 310_000, 32)
    return "{pbkdf2@SpringSecurity_v5_8}" + (salt + derived).hex()


def _scrypt(password, log_n, salt):
    derived = hashlib.scrypt(password.encode(), salt=salt, n=1 << log_n, r=8, p=1, dklen=32, maxmem=1 << 27)
    params = f"{log_n << 16 | 8 << 8 | 1:x}"
    return f"${params}${base64.b64encode(salt).decode()}${base64.b64encode(derived).decode()}"


def scrypt(password):
    return "{scrypt}" + _scrypt(password, 14, os.urandom(64))


def scrypt_v5_8(password):
    return "{scrypt@SpringSecurity_v5_8}" + _scrypt(password, 16, os.urandom(16))


def _salted(name, password):
    salt = "{" + base64.b64encode(os.urandom(32)).decode() + "}"
    return salt + hashlib.new(name.replace("-", ""), (password + salt).encode()).hexdigest()


def md5(password):
    return "{MD5}" + _salted("MD5", password)


def sha_1(password):
    return "{SHA-1}" + _salted("SHA-1", password)


def sha_256(password):
    return "{SHA-256}" + _salted("SHA-256", password)


STRONG = [bcrypt_2a, bare_bcrypt_2b, argon2_v5_8, pbkdf2, pbkdf2_v5_8, scrypt, scrypt_v5_8]
LEGACY = [md5, sha_1, sha_256]
