# SPDX-License-Identifier: GPL-2.0-or-later
"""NVMe/TCP's TLS for tests: keys derived anew (hashlib), and OpenSSL's client by ctypes.

Python 3.11 has no shared keys in its ssl module. TlsQueue is a Queue over such a client; it
says what it is told to, right or wrong.
"""
import base64
import ctypes
import hashlib
import hmac
import socket
import struct
import zlib

from libnvme import Queue

HASHES = {32: ('sha256', 1, b'\x13\x01', b'TLS_AES_128_GCM_SHA256'),
          48: ('sha384', 2, b'\x13\x02', b'TLS_AES_256_GCM_SHA384')}

# ---- keys (NVMe/TCP Transport, 3.6.1; RFC 5869; RFC 8446, 7.1) ----


def key_text(key, hash_=None):
    """As `nvme gen-tls-key` writes it."""
    number = HASHES[len(key)][1] if hash_ is None else hash_
    return 'NVMeTLSkey-1:%02d:%s:' % (number, base64.b64encode(key + struct.pack('<I', zlib.crc32(key))).decode())


def expand_label(key, label, context, legacy):
    name = HASHES[len(key)][0]
    label = b'tls13 ' + label
    if legacy:  # libnvme up to 1.15
        info = struct.pack('<H', len(key)) + label + context
    else:
        info = struct.pack('>HB', len(key), len(label)) + label + bytes([len(context)]) + context
    prk = hmac.new(bytes(len(key)), key, name).digest()
    return hmac.new(prk, info + b'\x01', name).digest()


def tls_psk(key, host, sub, version=1, hash_=None, legacy=False, kind='R'):
    """(identity, TLS key) of a configured key; of a retained or generated one with hash 0."""
    name, number, _, _ = HASHES[len(key)]
    if (number if hash_ is None else hash_) != 0:
        key = expand_label(key, b'HostNQN', host.encode(), legacy)
    identity = f'NVMe{version}{kind}{number:02d} {host} {sub}'
    if version:
        digest = base64.b64encode(hmac.new(key, f'{host} {sub} NVMe-over-Fabrics'.encode(), name).digest()).decode()
        identity += ' ' + digest
    context = f'{number:02d} {digest}' if version else identity
    return identity, expand_label(key, b'nvme-tls-psk', context.encode(), legacy)


# ---- OpenSSL ----

ssl = ctypes.CDLL('libssl.so.3')
USE_SESSION = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.POINTER(ctypes.c_void_p),
                               ctypes.POINTER(ctypes.c_size_t), ctypes.POINTER(ctypes.c_void_p))
P, I, S, L = ctypes.c_void_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_long
for name_, result, args in (
        ('TLS_client_method', P, ()), ('SSL_CTX_new', P, (P,)), ('SSL_CTX_free', None, (P,)),
        ('SSL_CTX_ctrl', L, (P, I, L, P)), ('SSL_CTX_set_ciphersuites', I, (P, S)),
        ('SSL_CTX_set_psk_use_session_callback', None, (P, USE_SESSION)), ('SSL_new', P, (P,)), ('SSL_free', None, (P,)),
        ('SSL_set_fd', I, (P, I)), ('SSL_connect', I, (P,)), ('SSL_read', I, (P, P, I)), ('SSL_write', I, (P, S, I)),
        ('SSL_shutdown', I, (P,)), ('SSL_get_error', I, (P, I)), ('SSL_get_cipher_list', S, (P, I)),
        ('SSL_get_current_cipher', P, (P,)), ('SSL_CIPHER_get_name', S, (P,)),
        ('SSL_CIPHER_find', P, (P, S)), ('SSL_SESSION_new', P, ()), ('SSL_SESSION_set1_master_key', I, (P, S, ctypes.c_size_t)),
        ('SSL_SESSION_set_cipher', I, (P, P)), ('SSL_SESSION_set_protocol_version', I, (P, I))):
    f_ = getattr(ssl, name_)
    f_.restype, f_.argtypes = result, args
SET_MAX_PROTO, SET_GROUPS_LIST = 124, 92


class Refused(Exception):
    """The handshake failed."""


class TlsSocket:
    """What Queue asks of a socket, over TLS with one shared key."""

    def __init__(self, s, psk, groups=None, tls12=False):
        identity, key = psk
        identity = identity if isinstance(identity, bytes) else identity.encode()
        self.s, self.ssl = s, None
        timeout = s.gettimeout()
        s.setblocking(True)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack('ll', int(timeout), 0))
        self.ctx = ssl.SSL_CTX_new(ssl.TLS_client_method())
        self.id = ctypes.create_string_buffer(identity, len(identity))
        self.key, self.suite = key, HASHES[len(key)][2]
        self.use = USE_SESSION(self._use)
        ssl.SSL_CTX_set_psk_use_session_callback(self.ctx, self.use)
        if groups:
            ssl.SSL_CTX_ctrl(self.ctx, SET_GROUPS_LIST, 0, groups)
        if tls12:
            ssl.SSL_CTX_ctrl(self.ctx, SET_MAX_PROTO, 0x0303, None)
        self.ssl = ssl.SSL_new(self.ctx)
        ssl.SSL_set_fd(self.ssl, s.fileno())
        if ssl.SSL_connect(self.ssl) != 1:
            self.close()
            raise Refused()

    def _use(self, s, md, ret_id, ret_len, ret_session):
        x = ssl.SSL_SESSION_new()
        ssl.SSL_SESSION_set1_master_key(x, self.key, len(self.key))
        ssl.SSL_SESSION_set_cipher(x, ssl.SSL_CIPHER_find(s, self.suite))
        ssl.SSL_SESSION_set_protocol_version(x, 0x0304)
        ret_id[0] = ctypes.addressof(self.id)
        ret_len[0] = len(self.id)
        ret_session[0] = x
        return 1

    def cipher(self):
        return ssl.SSL_CIPHER_get_name(ssl.SSL_get_current_cipher(self.ssl))

    def sendall(self, data):
        data = bytes(data)
        if data and ssl.SSL_write(self.ssl, data, len(data)) != len(data):
            raise ConnectionError('SSL_write')

    def recv(self, n):
        buf = ctypes.create_string_buffer(n)
        r = ssl.SSL_read(self.ssl, buf, n)
        return buf.raw[:r] if r > 0 else b''

    def close(self):
        if self.ssl:
            ssl.SSL_free(self.ssl)
            self.ssl = None
        if self.ctx:
            ssl.SSL_CTX_free(self.ctx)
            self.ctx = None
        self.s.close()


class TlsQueue(Queue):
    """`psk`: (identity, TLS key); the rest as Queue's."""

    def __init__(self, port, psk, tls=None, **more):
        self.psk, self.tls = psk, tls or {}
        super().__init__(port, **more)

    def dial(self, port, timeout):
        return TlsSocket(super().dial(port, timeout), self.psk, **self.tls)
