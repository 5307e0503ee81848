;; Asks for a graph that is some other module's, `wakeword`, and prints the errno.
;; Exit 0: refused, as it should be where the policy grants no such graph. Exit 42: the host gave it.
(module
  (import "wasi_ephemeral_nn" "load_by_name" (func $load_by_name (param i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))
  (memory (export "memory") 1)

  (data (i32.const 256) "wakeword")
  (data (i32.const 1024) "load graph `wakeword`: errno ")
  (data (i32.const 1056) "\n")

  (func $print (param $text i32) (param $length i32)
    (i32.store (i32.const 0) (local.get $text))
    (i32.store (i32.const 4) (local.get $length))
    (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))))

  ;; The number in decimal, written backwards to the bytes that end at 64.
  (func $print_number (param $number i32)
    (local $at i32)
    (local.set $at (i32.const 64))
    (loop $digit
      (local.set $at (i32.sub (local.get $at) (i32.const 1)))
      (i32.store8 (local.get $at) (i32.add (i32.const 48) (i32.rem_u (local.get $number) (i32.const 10))))
      (local.set $number (i32.div_u (local.get $number) (i32.const 10)))
      (br_if $digit (local.get $number)))
    (call $print (local.get $at) (i32.sub (i32.const 64) (local.get $at))))

  (func (export "_start")
    (local $errno i32)
    (local.set $errno (call $load_by_name (i32.const 256) (i32.const 8) (i32.const 16)))
    (call $print (i32.const 1024) (i32.const 29))
    (call $print_number (local.get $errno))
    (call $print (i32.const 1056) (i32.const 1))
    (if (i32.eqz (local.get $errno)) (then (call $proc_exit (i32.const 42))))))
