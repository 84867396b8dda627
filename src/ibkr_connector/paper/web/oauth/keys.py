"""Registration for tests: two RSA key pairs, a Diffie-Hellman prime, an access token and its encrypted secret.

    ibkr-connector paper oauth-keys DIR

writes what a client needs (private keys, an environment file) and what the gateway needs (`server.json`). Every file
is readable by its owner only.
"""

from __future__ import annotations

import base64
import json
import os
import secrets
import shlex
import string
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

KEY_BITS: Final = 2048
GENERATOR: Final = 2
SECRET_BYTES: Final = 32
SERVER_FILE: Final = "server.json"
ENV_FILE: Final = "oauth.env"
SIGNATURE_FILE: Final = "private_signature.pem"
ENCRYPTION_FILE: Final = "private_encryption.pem"
VERSION: Final = 1
MAX_SIZE: Final = 256 * 1024

# RFC 3526, group 14: a prime everybody may use. 2^2048 - 2^1984 - 1 + 2^64 * ([2^1918 pi] + 124476).
PRIME_HEX: Final = (
    "FFFFFFFFFFFFFFFFC90FDAA22168C234C4C6628B80DC1CD129024E088A67CC74020BBEA63B139B22514A08798E3404DD"
    "EF9519B3CD3A431B302B0A6DF25F14374FE1356D6D51C245E485B576625E7EC6F44C42E9A637ED6B0BFF5CB6F406B7ED"
    "EE386BFB5A899FA5AE9F24117C4B1FE649286651ECE45B3DC2007CB8A163BF0598DA48361C55D39A69163FA8FD24CF5F"
    "83655D23DCA3AD961C62F356208552BB9ED529077096966D670C354E4ABC9804F1746C08CA18217C32905E462E36CE3B"
    "E39E772C180E86039B2783A2EC07A28FB5C55DF06F4C52C9DE2BCBF6955817183995497CEA956AE515D2261898FA0510"
    "15728E5A8AACAA68FFFFFFFFFFFFFFFF"
)


class KeyFileError(ValueError):
    """A file with keys cannot be used; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class OAuthSecrets:
    """What the server knows of a registered consumer. Its repr shows no secret."""

    consumer_key: str
    access_token: str
    secret: bytes
    """The access token's secret, decrypted."""
    prime: int
    signature_key: RSAPublicKey

    def __repr__(self) -> str:
        return f"<OAuthSecrets of {self.consumer_key}>"


@dataclass(frozen=True, slots=True)
class Registration:
    """A new consumer: the server's half, and the client's private keys and values."""

    server: OAuthSecrets
    access_token_secret: str
    """Encrypted, base64: as the self-service portal shows it."""
    signature_pem: bytes
    encryption_pem: bytes
    prime_hex: str

    def __repr__(self) -> str:
        return f"<Registration of {self.server.consumer_key}>"


def register() -> Registration:
    """Make everything anew."""
    from cryptography.hazmat.primitives.asymmetric import padding, rsa

    signature = rsa.generate_private_key(public_exponent=65537, key_size=KEY_BITS)
    encryption = rsa.generate_private_key(public_exponent=65537, key_size=KEY_BITS)
    secret = secrets.token_bytes(SECRET_BYTES)
    encrypted = encryption.public_key().encrypt(secret, padding.PKCS1v15())
    server = OAuthSecrets(
        consumer_key="".join(secrets.choice(string.ascii_uppercase) for _ in range(9)),
        access_token=secrets.token_hex(10),
        secret=secret,
        prime=int(PRIME_HEX, 16),
        signature_key=signature.public_key(),
    )
    return Registration(
        server=server,
        access_token_secret=base64.b64encode(encrypted).decode(),
        signature_pem=_private_pem(signature),
        encryption_pem=_private_pem(encryption),
        prime_hex=PRIME_HEX.lower(),
    )


def write(registration: Registration, folder: Path, base_url: str, account: str) -> dict[str, Path]:
    """Write a registration: the files by what they are. Existing files are not overwritten (FileExistsError)."""
    from cryptography.hazmat.primitives import serialization

    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    server = registration.server
    signature, encryption = folder / SIGNATURE_FILE, folder / ENCRYPTION_FILE
    public = server.signature_key.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    ).decode()
    own = {
        "version": VERSION,
        "consumer_key": server.consumer_key,
        "access_token": server.access_token,
        "access_token_secret_plain": server.secret.hex(),
        "dh_prime": registration.prime_hex,
        "signature_public_key": public,
    }
    socket_url = base_url.replace("http", "ws", 1) + "ws"
    values = {
        "IBKR_BACKEND": "web",
        "IBKR_OAUTH_CONSUMER_KEY": server.consumer_key,
        "IBKR_OAUTH_ACCESS_TOKEN": server.access_token,
        "IBKR_OAUTH_ACCESS_TOKEN_SECRET": registration.access_token_secret,
        "IBKR_OAUTH_DH_PRIME": registration.prime_hex,
        "IBKR_OAUTH_SIGNATURE_KEY_FP": str(signature.resolve()),
        "IBKR_OAUTH_ENCRYPTION_KEY_FP": str(encryption.resolve()),
        "IBKR_OAUTH_REST_URL": base_url,
        "IBKR_OAUTH_WS_URL": socket_url,
        "IBKR_ACCOUNT_ID": account,
    }
    lines = ["# Test keys of a paper gateway. They open nothing at IBKR.\n"]
    lines += [f"{name}={shlex.quote(value)}\n" for name, value in values.items()]
    lines.append("# The same under the names ibind reads.\nIBIND_USE_OAUTH=True\n")
    lines += [
        f"{name.replace('IBKR_OAUTH_', 'IBIND_OAUTH1A_')}={shlex.quote(value)}\n"
        for name, value in values.items()
        if name.startswith("IBKR_OAUTH_")
    ]
    lines.append(f"IBIND_WS_URL={socket_url}\nIBIND_ACCOUNT_ID={account}\n")
    contents = {
        signature: registration.signature_pem,
        encryption: registration.encryption_pem,
        folder / SERVER_FILE: (json.dumps(own, indent=1) + "\n").encode(),
        folder / ENV_FILE: "".join(lines).encode(),
    }
    for path in contents:
        if path.exists():
            raise FileExistsError(f"{path} exists: choose an empty folder, or delete the old keys")
    for path, data in contents.items():
        _write_private(path, data)
    return {"signature": signature, "encryption": encryption, "server": folder / SERVER_FILE, "env": folder / ENV_FILE}


def load(path: Path) -> OAuthSecrets:
    """The server's half from `server.json`, or from the folder it is in. Raises KeyFileError or OSError."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

    file = path / SERVER_FILE if path.is_dir() else path
    if os.name == "posix" and file.stat().st_mode & 0o077:
        raise KeyFileError(f"{file} can be read by others: chmod 600 it, or write new keys with `paper oauth-keys`")
    with file.open("rb") as source:
        data = source.read(MAX_SIZE + 1)
    advice = f"{file} is no key file of the paper gateway: write one with `ibkr-connector paper oauth-keys DIR`"
    try:
        values: dict[str, Any] = json.loads(data)
        key = serialization.load_pem_public_key(values["signature_public_key"].encode())
        if values["version"] != VERSION or len(data) > MAX_SIZE or not isinstance(key, RSAPublicKey):
            raise KeyFileError(advice)
        return OAuthSecrets(
            consumer_key=str(values["consumer_key"]),
            access_token=str(values["access_token"]),
            secret=bytes.fromhex(values["access_token_secret_plain"]),
            prime=int(values["dh_prime"], 16),
            signature_key=key,
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        raise KeyFileError(advice) from None


def _private_pem(key: Any) -> bytes:
    from cryptography.hazmat.primitives import serialization

    pem: bytes = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return pem


def _write_private(path: Path, data: bytes) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0)
    file = os.open(path, flags, 0o600)
    try:
        while data:
            data = data[os.write(file, data) :]
    finally:
        os.close(file)
