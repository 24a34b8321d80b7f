/*
 * As much of PKCS#11 v2.40 as a module needs that passes calls on: the types
 * of arguments that it looks into, the functions in the order of
 * CK_FUNCTION_LIST (§3.6), and the names of return values (§5.1.6). What is
 * only passed on is a void pointer here.
 */
#ifndef CRYPTOKI_H
#define CRYPTOKI_H

typedef unsigned char CK_BYTE;
typedef unsigned long CK_ULONG, CK_RV;

typedef struct {
	CK_BYTE label[32], manufacturer[32], model[16], serial[16];
	CK_ULONG flags;
	CK_ULONG max_sessions, sessions, max_rw_sessions, rw_sessions;
	CK_ULONG max_pin, min_pin;
	CK_ULONG total_public, free_public, total_private, free_private;
	CK_BYTE hardware[2], firmware[2];
	CK_BYTE utc[16];
} CK_TOKEN_INFO;

typedef struct {
	CK_ULONG slot, state, flags, device_error;
} CK_SESSION_INFO;

typedef struct {
	CK_ULONG type;
	void *value;
	CK_ULONG length;
} CK_ATTRIBUTE;

typedef struct {
	CK_ULONG min_key, max_key, flags;
} CK_MECHANISM_INFO;

#define CKF_WRITE_PROTECTED 0x2
#define CKF_PROTECTED_AUTHENTICATION_PATH 0x100
#define CKF_RW_SESSION 0x2
enum { CKS_RO_PUBLIC, CKS_RO_USER, CKS_RW_PUBLIC, CKS_RW_USER, CKS_RW_SO };
enum { CKU_SO, CKU_USER, CKU_CONTEXT_SPECIFIC };

/*
 * EACH_FUNCTION(X) is X(name, via, reach, length, parameters, arguments) for
 * every function but C_GetFunctionList, which stands at its place as AT_4TH:
 *
 *   via     REAL: passed on as it is; OWN: faulty.c has a say in it
 *   reach   LIBRARY: needs no token; SLOT and SESSION: the first argument says
 *           which one; KEY: as SESSION, and needs the login
 *   length  true for a call that only asks how long its answer will be
 */
#define EACH_FUNCTION(X, AT_4TH) \
	X(Initialize, OWN, LIBRARY, 0, (void *args), (args)) \
	X(Finalize, OWN, LIBRARY, 0, (void *reserved), (reserved)) \
	X(GetInfo, REAL, LIBRARY, 0, (void *info), (info)) \
	AT_4TH \
	X(GetSlotList, OWN, LIBRARY, 0, (CK_BYTE present, CK_ULONG *slots, CK_ULONG *count), (present, slots, count)) \
	X(GetSlotInfo, REAL, SLOT, 0, (CK_ULONG slot, void *info), (slot, info)) \
	X(GetTokenInfo, OWN, SLOT, 0, (CK_ULONG slot, CK_TOKEN_INFO *info), (slot, info)) \
	X(GetMechanismList, OWN, SLOT, 0, (CK_ULONG slot, CK_ULONG *list, CK_ULONG *count), (slot, list, count)) \
	X(GetMechanismInfo, OWN, SLOT, 0, (CK_ULONG slot, CK_ULONG type, CK_MECHANISM_INFO *info), (slot, type, info)) \
	X(InitToken, REAL, SLOT, 0, (CK_ULONG slot, CK_BYTE *pin, CK_ULONG pin_len, CK_BYTE *label), (slot, pin, pin_len, label)) \
	X(InitPIN, REAL, SESSION, 0, (CK_ULONG session, CK_BYTE *pin, CK_ULONG len), (session, pin, len)) \
	X(SetPIN, REAL, SESSION, 0, (CK_ULONG session, CK_BYTE *old, CK_ULONG old_len, CK_BYTE *new, CK_ULONG new_len), (session, old, old_len, new, new_len)) \
	X(OpenSession, OWN, SLOT, 0, (CK_ULONG slot, CK_ULONG flags, void *application, void *notify, CK_ULONG *session), (slot, flags, application, notify, session)) \
	X(CloseSession, OWN, SESSION, 0, (CK_ULONG session), (session)) \
	X(CloseAllSessions, OWN, SLOT, 0, (CK_ULONG slot), (slot)) \
	X(GetSessionInfo, OWN, SESSION, 0, (CK_ULONG session, CK_SESSION_INFO *info), (session, info)) \
	X(GetOperationState, REAL, SESSION, state == NULL, (CK_ULONG session, CK_BYTE *state, CK_ULONG *len), (session, state, len)) \
	X(SetOperationState, REAL, SESSION, 0, (CK_ULONG session, CK_BYTE *state, CK_ULONG len, CK_ULONG encryption, CK_ULONG authentication), (session, state, len, encryption, authentication)) \
	X(Login, OWN, SESSION, 0, (CK_ULONG session, CK_ULONG user, CK_BYTE *pin, CK_ULONG len), (session, user, pin, len)) \
	X(Logout, OWN, SESSION, 0, (CK_ULONG session), (session)) \
	X(CreateObject, REAL, SESSION, 0, (CK_ULONG session, void *template, CK_ULONG count, CK_ULONG *object), (session, template, count, object)) \
	X(CopyObject, REAL, SESSION, 0, (CK_ULONG session, CK_ULONG object, void *template, CK_ULONG count, CK_ULONG *copy), (session, object, template, count, copy)) \
	X(DestroyObject, REAL, SESSION, 0, (CK_ULONG session, CK_ULONG object), (session, object)) \
	X(GetObjectSize, REAL, SESSION, 0, (CK_ULONG session, CK_ULONG object, CK_ULONG *size), (session, object, size)) \
	X(GetAttributeValue, OWN, SESSION, 0, (CK_ULONG session, CK_ULONG object, CK_ATTRIBUTE *template, CK_ULONG count), (session, object, template, count)) \
	X(SetAttributeValue, REAL, SESSION, 0, (CK_ULONG session, CK_ULONG object, void *template, CK_ULONG count), (session, object, template, count)) \
	X(FindObjectsInit, REAL, SESSION, 0, (CK_ULONG session, void *template, CK_ULONG count), (session, template, count)) \
	X(FindObjects, OWN, SESSION, 0, (CK_ULONG session, CK_ULONG *objects, CK_ULONG max, CK_ULONG *count), (session, objects, max, count)) \
	X(FindObjectsFinal, REAL, SESSION, 0, (CK_ULONG session), (session)) \
	X(EncryptInit, REAL, KEY, 0, (CK_ULONG session, void *mechanism, CK_ULONG key), (session, mechanism, key)) \
	X(Encrypt, REAL, KEY, out == NULL, (CK_ULONG session, CK_BYTE *in, CK_ULONG len, CK_BYTE *out, CK_ULONG *out_len), (session, in, len, out, out_len)) \
	X(EncryptUpdate, REAL, KEY, out == NULL, (CK_ULONG session, CK_BYTE *in, CK_ULONG len, CK_BYTE *out, CK_ULONG *out_len), (session, in, len, out, out_len)) \
	X(EncryptFinal, REAL, KEY, out == NULL, (CK_ULONG session, CK_BYTE *out, CK_ULONG *out_len), (session, out, out_len)) \
	X(DecryptInit, REAL, KEY, 0, (CK_ULONG session, void *mechanism, CK_ULONG key), (session, mechanism, key)) \
	X(Decrypt, REAL, KEY, out == NULL, (CK_ULONG session, CK_BYTE *in, CK_ULONG len, CK_BYTE *out, CK_ULONG *out_len), (session, in, len, out, out_len)) \
	X(DecryptUpdate, REAL, KEY, out == NULL, (CK_ULONG session, CK_BYTE *in, CK_ULONG len, CK_BYTE *out, CK_ULONG *out_len), (session, in, len, out, out_len)) \
	X(DecryptFinal, REAL, KEY, out == NULL, (CK_ULONG session, CK_BYTE *out, CK_ULONG *out_len), (session, out, out_len)) \
	X(DigestInit, REAL, SESSION, 0, (CK_ULONG session, void *mechanism), (session, mechanism)) \
	X(Digest, REAL, SESSION, out == NULL, (CK_ULONG session, CK_BYTE *in, CK_ULONG len, CK_BYTE *out, CK_ULONG *out_len), (session, in, len, out, out_len)) \
	X(DigestUpdate, REAL, SESSION, 0, (CK_ULONG session, CK_BYTE *in, CK_ULONG len), (session, in, len)) \
	X(DigestKey, REAL, KEY, 0, (CK_ULONG session, CK_ULONG key), (session, key)) \
	X(DigestFinal, REAL, SESSION, out == NULL, (CK_ULONG session, CK_BYTE *out, CK_ULONG *out_len), (session, out, out_len)) \
	X(SignInit, REAL, KEY, 0, (CK_ULONG session, void *mechanism, CK_ULONG key), (session, mechanism, key)) \
	X(Sign, OWN, KEY, out == NULL, (CK_ULONG session, CK_BYTE *in, CK_ULONG len, CK_BYTE *out, CK_ULONG *out_len), (session, in, len, out, out_len)) \
	X(SignUpdate, REAL, KEY, 0, (CK_ULONG session, CK_BYTE *in, CK_ULONG len), (session, in, len)) \
	X(SignFinal, OWN, KEY, out == NULL, (CK_ULONG session, CK_BYTE *out, CK_ULONG *out_len), (session, out, out_len)) \
	X(SignRecoverInit, REAL, KEY, 0, (CK_ULONG session, void *mechanism, CK_ULONG key), (session, mechanism, key)) \
	X(SignRecover, REAL, KEY, out == NULL, (CK_ULONG session, CK_BYTE *in, CK_ULONG len, CK_BYTE *out, CK_ULONG *out_len), (session, in, len, out, out_len)) \
	X(VerifyInit, REAL, SESSION, 0, (CK_ULONG session, void *mechanism, CK_ULONG key), (session, mechanism, key)) \
	X(Verify, REAL, SESSION, 0, (CK_ULONG session, CK_BYTE *in, CK_ULONG len, CK_BYTE *signature, CK_ULONG signature_len), (session, in, len, signature, signature_len)) \
	X(VerifyUpdate, REAL, SESSION, 0, (CK_ULONG session, CK_BYTE *in, CK_ULONG len), (session, in, len)) \
	X(VerifyFinal, REAL, SESSION, 0, (CK_ULONG session, CK_BYTE *signature, CK_ULONG len), (session, signature, len)) \
	X(VerifyRecoverInit, REAL, SESSION, 0, (CK_ULONG session, void *mechanism, CK_ULONG key), (session, mechanism, key)) \
	X(VerifyRecover, REAL, SESSION, out == NULL, (CK_ULONG session, CK_BYTE *signature, CK_ULONG len, CK_BYTE *out, CK_ULONG *out_len), (session, signature, len, out, out_len)) \
	X(DigestEncryptUpdate, REAL, KEY, out == NULL, (CK_ULONG session, CK_BYTE *in, CK_ULONG len, CK_BYTE *out, CK_ULONG *out_len), (session, in, len, out, out_len)) \
	X(DecryptDigestUpdate, REAL, KEY, out == NULL, (CK_ULONG session, CK_BYTE *in, CK_ULONG len, CK_BYTE *out, CK_ULONG *out_len), (session, in, len, out, out_len)) \
	X(SignEncryptUpdate, REAL, KEY, out == NULL, (CK_ULONG session, CK_BYTE *in, CK_ULONG len, CK_BYTE *out, CK_ULONG *out_len), (session, in, len, out, out_len)) \
	X(DecryptVerifyUpdate, REAL, KEY, out == NULL, (CK_ULONG session, CK_BYTE *in, CK_ULONG len, CK_BYTE *out, CK_ULONG *out_len), (session, in, len, out, out_len)) \
	X(GenerateKey, REAL, KEY, 0, (CK_ULONG session, void *mechanism, void *template, CK_ULONG count, CK_ULONG *key), (session, mechanism, template, count, key)) \
	X(GenerateKeyPair, REAL, KEY, 0, (CK_ULONG session, void *mechanism, void *public, CK_ULONG public_count, void *private, CK_ULONG private_count, CK_ULONG *public_key, CK_ULONG *private_key), (session, mechanism, public, public_count, private, private_count, public_key, private_key)) \
	X(WrapKey, REAL, KEY, out == NULL, (CK_ULONG session, void *mechanism, CK_ULONG wrapping, CK_ULONG key, CK_BYTE *out, CK_ULONG *out_len), (session, mechanism, wrapping, key, out, out_len)) \
	X(UnwrapKey, REAL, KEY, 0, (CK_ULONG session, void *mechanism, CK_ULONG unwrapping, CK_BYTE *in, CK_ULONG len, void *template, CK_ULONG count, CK_ULONG *key), (session, mechanism, unwrapping, in, len, template, count, key)) \
	X(DeriveKey, REAL, KEY, 0, (CK_ULONG session, void *mechanism, CK_ULONG base, void *template, CK_ULONG count, CK_ULONG *key), (session, mechanism, base, template, count, key)) \
	X(SeedRandom, REAL, SESSION, 0, (CK_ULONG session, CK_BYTE *seed, CK_ULONG len), (session, seed, len)) \
	X(GenerateRandom, REAL, SESSION, 0, (CK_ULONG session, CK_BYTE *out, CK_ULONG len), (session, out, len)) \
	X(GetFunctionStatus, REAL, SESSION, 0, (CK_ULONG session), (session)) \
	X(CancelFunction, REAL, SESSION, 0, (CK_ULONG session), (session)) \
	X(WaitForSlotEvent, REAL, LIBRARY, 0, (CK_ULONG flags, CK_ULONG *slot, void *reserved), (flags, slot, reserved))

typedef struct CK_FUNCTION_LIST CK_FUNCTION_LIST;
struct CK_FUNCTION_LIST {
	CK_BYTE version[2];
#define POINTER(name, via, reach, length, parameters, arguments) CK_RV (*C_##name) parameters;
	EACH_FUNCTION(POINTER, CK_RV (*C_GetFunctionList)(CK_FUNCTION_LIST **list);)
#undef POINTER
};
_Static_assert(sizeof(CK_FUNCTION_LIST) == 69 * sizeof(void *), "68 functions behind the version");

#define EACH_RETURN_VALUE(X) \
	X(OK, 0x0) X(CANCEL, 0x1) X(HOST_MEMORY, 0x2) X(SLOT_ID_INVALID, 0x3) X(GENERAL_ERROR, 0x5) \
	X(FUNCTION_FAILED, 0x6) X(ARGUMENTS_BAD, 0x7) X(NO_EVENT, 0x8) X(NEED_TO_CREATE_THREADS, 0x9) \
	X(CANT_LOCK, 0xa) X(ATTRIBUTE_READ_ONLY, 0x10) X(ATTRIBUTE_SENSITIVE, 0x11) \
	X(ATTRIBUTE_TYPE_INVALID, 0x12) X(ATTRIBUTE_VALUE_INVALID, 0x13) X(ACTION_PROHIBITED, 0x1b) \
	X(DATA_INVALID, 0x20) X(DATA_LEN_RANGE, 0x21) X(DEVICE_ERROR, 0x30) X(DEVICE_MEMORY, 0x31) \
	X(DEVICE_REMOVED, 0x32) X(ENCRYPTED_DATA_INVALID, 0x40) X(ENCRYPTED_DATA_LEN_RANGE, 0x41) \
	X(FUNCTION_CANCELED, 0x50) X(FUNCTION_NOT_PARALLEL, 0x51) X(FUNCTION_NOT_SUPPORTED, 0x54) \
	X(KEY_HANDLE_INVALID, 0x60) X(KEY_SIZE_RANGE, 0x62) X(KEY_TYPE_INCONSISTENT, 0x63) \
	X(KEY_NOT_NEEDED, 0x64) X(KEY_CHANGED, 0x65) X(KEY_NEEDED, 0x66) X(KEY_INDIGESTIBLE, 0x67) \
	X(KEY_FUNCTION_NOT_PERMITTED, 0x68) X(KEY_NOT_WRAPPABLE, 0x69) X(KEY_UNEXTRACTABLE, 0x6a) \
	X(MECHANISM_INVALID, 0x70) X(MECHANISM_PARAM_INVALID, 0x71) X(OBJECT_HANDLE_INVALID, 0x82) \
	X(OPERATION_ACTIVE, 0x90) X(OPERATION_NOT_INITIALIZED, 0x91) X(PIN_INCORRECT, 0xa0) \
	X(PIN_INVALID, 0xa1) X(PIN_LEN_RANGE, 0xa2) X(PIN_EXPIRED, 0xa3) X(PIN_LOCKED, 0xa4) \
	X(SESSION_CLOSED, 0xb0) X(SESSION_COUNT, 0xb1) X(SESSION_HANDLE_INVALID, 0xb3) \
	X(SESSION_PARALLEL_NOT_SUPPORTED, 0xb4) X(SESSION_READ_ONLY, 0xb5) X(SESSION_EXISTS, 0xb6) \
	X(SESSION_READ_ONLY_EXISTS, 0xb7) X(SESSION_READ_WRITE_SO_EXISTS, 0xb8) \
	X(SIGNATURE_INVALID, 0xc0) X(SIGNATURE_LEN_RANGE, 0xc1) X(TEMPLATE_INCOMPLETE, 0xd0) \
	X(TEMPLATE_INCONSISTENT, 0xd1) X(TOKEN_NOT_PRESENT, 0xe0) X(TOKEN_NOT_RECOGNIZED, 0xe1) \
	X(TOKEN_WRITE_PROTECTED, 0xe2) X(UNWRAPPING_KEY_HANDLE_INVALID, 0xf0) \
	X(UNWRAPPING_KEY_SIZE_RANGE, 0xf1) X(UNWRAPPING_KEY_TYPE_INCONSISTENT, 0xf2) \
	X(USER_ALREADY_LOGGED_IN, 0x100) X(USER_NOT_LOGGED_IN, 0x101) X(USER_PIN_NOT_INITIALIZED, 0x102) \
	X(USER_TYPE_INVALID, 0x103) X(USER_ANOTHER_ALREADY_LOGGED_IN, 0x104) X(USER_TOO_MANY_TYPES, 0x105) \
	X(WRAPPED_KEY_INVALID, 0x110) X(WRAPPED_KEY_LEN_RANGE, 0x112) X(WRAPPING_KEY_HANDLE_INVALID, 0x113) \
	X(WRAPPING_KEY_SIZE_RANGE, 0x114) X(WRAPPING_KEY_TYPE_INCONSISTENT, 0x115) \
	X(RANDOM_SEED_NOT_SUPPORTED, 0x120) X(RANDOM_NO_RNG, 0x121) X(DOMAIN_PARAMS_INVALID, 0x130) \
	X(CURVE_NOT_SUPPORTED, 0x140) X(BUFFER_TOO_SMALL, 0x150) X(SAVED_STATE_INVALID, 0x160) \
	X(INFORMATION_SENSITIVE, 0x170) X(STATE_UNSAVEABLE, 0x180) X(CRYPTOKI_NOT_INITIALIZED, 0x190) \
	X(CRYPTOKI_ALREADY_INITIALIZED, 0x191) X(MUTEX_BAD, 0x1a0) X(MUTEX_NOT_LOCKED, 0x1a1) \
	X(NEW_PIN_MODE, 0x1b0) X(NEXT_OTP, 0x1b1) X(EXCEEDED_MAX_ITERATIONS, 0x1b5) \
	X(FIPS_SELF_TEST_FAILED, 0x1b6) X(LIBRARY_LOAD_FAILED, 0x1b7) X(PIN_TOO_WEAK, 0x1b8) \
	X(PUBLIC_KEY_INVALID, 0x1b9) X(FUNCTION_REJECTED, 0x200) X(VENDOR_DEFINED, 0x80000000UL)

#define VALUE(name, value) static const CK_RV CKR_##name __attribute__((unused)) = value;
EACH_RETURN_VALUE(VALUE)
#undef VALUE

#endif
